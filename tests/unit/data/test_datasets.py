import numpy as np
import pytest

from tracer.data.datasets import CaptionedImages, LabelledImages, Suite

IMAGES = np.zeros((3, 2, 2, 3), dtype=np.uint8)


def labelled(**changed):
    parts = {
        "images": IMAGES,
        "labels": np.array([1, 0, 1]),
        "class_names": ("cat", "dog"),
        "templates": ("a {}", "{}"),
    }
    return LabelledImages(**{**parts, **changed})


def test_labels_become_captions():
    captioned = labelled().captioned()
    assert captioned.captions == [("a dog", "dog"), ("a cat", "cat"), ("a dog", "dog")]
    assert captioned.images is IMAGES


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="3 images but 2 captions"):
        CaptionedImages(IMAGES, [("a",), ("b",)])
    with pytest.raises(ValueError, match="3 images but 1 labels"):
        labelled(labels=np.array([0]))


def test_captions_name_every_accepted_class():
    grouped = labelled(class_names=("cat", "cow", "dog"), accepted=((2,), (0, 1)), labels=np.array([0, 1, 0]))
    assert grouped.captioned().captions == [("a dog", "dog"), ("a cat", "cat", "a cow", "cow"), ("a dog", "dog")]


def test_suite_names_its_sets():
    task, shifted, other = labelled(), labelled(), labelled()
    assert Suite(task, {"sketch": shifted}, {"cars": other}).sets() == {"id": task, "sketch": shifted, "cars": other}
