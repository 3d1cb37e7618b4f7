"""A single eigenmode in closed form, by teacher."""
