"""Losses of contrastive fine-tuning and distillation: pure functions of logits, features and weights.

Logits are (n, n): row i holds image i against every text, so the transpose holds text i against every image. Names and
definitions follow CLIP-KD (arXiv 2307.12732) and TRACER (arXiv 2605.29380). No loss sends a gradient into a teacher: whoever
computes the teacher's logits does so without one, and `objective` detaches them once more. Shapes that do not fit raise a
ValueError, where broadcasting would give a number that means nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(logits: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy of (n, n) logits, each image with its own text; a scalar.

    >>> round(contrastive(torch.zeros(4, 4)).item(), 4)  # ln 4: pairs that cannot be told apart
    1.3863
    """
    _require_square(logits)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (n, classes) logits against one-hot labels (n, classes); a scalar."""
    _require_alike(logits, labels)
    return F.cross_entropy(logits, labels)


def linearised_contrastive(image: Tensor, text: Tensor) -> Tensor:
    """The contrastive loss at small logits, of image and text embeddings (n, k) each; a scalar.

    -1/n sum_i <f_i, z_i - mean(z)>, after Nakada et al., arXiv 2302.06232. It is bounded below only together with a penalty such
    as `embedding_norm`.
    """
    _require_alike(image, text)
    return -(image * (text - text.mean(dim=0, keepdim=True))).sum() / len(image)


def embedding_norm(image: Tensor) -> Tensor:
    """Half the mean squared norm of image embeddings (n, k), 1/(2n) sum_i |f_i|^2; a scalar."""
    _require_alike(image)
    return 0.5 * image.square().sum() / len(image)


def contrastive_relational(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """CRD: KL(teacher || student) of the batch softmax, mean over samples and both directions; a scalar."""
    _require_square(student_logits, teacher_logits)
    return similarity_relational(student_logits, teacher_logits)


def similarity_relational(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """CRD of images and texts that are of no pair: KL(teacher || student) of (m, b) logits, mean over both directions; a scalar.

    The softmax is over texts in one direction and over images in the other, as in ZSCL (arXiv 2303.06628).
    """
    _require_alike(student_logits, teacher_logits)
    return (_batch_kl(student_logits, teacher_logits) + _batch_kl(student_logits.T, teacher_logits.T)) / 2


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """FD of one tower on one set of inputs: mean squared difference over all elements of the (n, k) features; a scalar.

    Being a mean over the k dimensions, its weight has to grow with k: the published 2000 belongs to k = 512.
    """
    _require_alike(student, teacher)
    return F.mse_loss(student, teacher)


def interactive_contrastive(image_to_teacher_text: Tensor, text_to_teacher_image: Tensor) -> Tensor:
    """ICL: cross-entropy of student images against teacher texts and of student texts against teacher images; a scalar.

    Both logits are (n, n) with the student's sample on the row and the student's logit scale.
    """
    _require_square(image_to_teacher_text, text_to_teacher_image)
    targets = torch.arange(len(image_to_teacher_text), device=image_to_teacher_text.device)
    return (F.cross_entropy(image_to_teacher_text, targets) + F.cross_entropy(text_to_teacher_image, targets)) / 2


def cross_kd(image_to_teacher_text: Tensor, text_to_teacher_image: Tensor, teacher_logits: Tensor) -> Tensor:
    """CrossKD: KL(teacher || student across models), mean over samples and both directions; a scalar.

    Student images against teacher texts imitate the teacher's images against its texts, and student texts against teacher images
    imitate the teacher's texts against its images (TRACER, equations 25 to 27). Both of the student's logits are (n, n) with its
    sample on the row; the teacher's are (n, n), images on the rows.
    """
    _require_square(image_to_teacher_text, text_to_teacher_image, teacher_logits)
    return (_batch_kl(image_to_teacher_text, teacher_logits) + _batch_kl(text_to_teacher_image, teacher_logits.T)) / 2


def squared_distance(parameters: list[Tensor], others: list[Tensor]) -> Tensor:
    """Half the squared distance of weights to others, for L2-SP (arXiv 1802.01483) the pretrained ones; a scalar."""
    if [mine.shape for mine in parameters] != [theirs.shape for theirs in others] or not parameters:
        raise ValueError("weights that are compared must be as many tensors of the same shapes, and at least one")
    return 0.5 * torch.stack([(p - o).square().sum() for p, o in zip(parameters, others, strict=True)]).sum()


def cross_projection_norm(image_projection: Tensor, text_projection: Tensor) -> Tensor:
    """Frobenius norm of W_I^T W_T, the projections being (k, width) each; a scalar."""
    return _squared_product(image_projection, text_projection).sqrt()


def product_norm(image_projection: Tensor, text_projection: Tensor) -> Tensor:
    """Half the squared norm 1/2 |W_I^T W_T|^2 of the projections' product, (k, width) each; a scalar.

    With it `linearised_contrastive` is bounded below where both towers are trained, as with `embedding_norm` where one is.
    """
    return _squared_product(image_projection, text_projection) / 2


def _squared_product(image_projection: Tensor, text_projection: Tensor) -> Tensor:
    """|W_I^T W_T|^2 = tr(W_I W_I^T W_T W_T^T), from the (k, k) Gram matrices, so that no (width, width) matrix is formed."""
    if image_projection.ndim != 2 or text_projection.ndim != 2 or len(image_projection) != len(text_projection):
        shapes = f"{tuple(image_projection.shape)} and {tuple(text_projection.shape)}"
        raise ValueError(f"projections must be matrices with as many rows as the embedding has dimensions, not of shapes {shapes}")
    gram_image, gram_text = image_projection @ image_projection.T, text_projection @ text_projection.T
    return (gram_image * gram_text).sum()


def orthogonality(projection: Tensor) -> Tensor:
    """CaRot's constraint (arXiv 2311.01723): Frobenius norm of W W^T - I for a projection W (k, width); a scalar.

    The Gram matrix is that of the k rows, so that orthonormal rows, of which a projection to fewer dimensions has its full number,
    leave nothing to constrain.
    """
    _require_alike(projection)
    gram = projection @ projection.T
    distance: Tensor = torch.linalg.matrix_norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return distance


def _require_square(*logits: Tensor) -> None:
    _require_alike(*logits)
    if logits[0].shape[0] != logits[0].shape[1]:
        raise ValueError(f"logits must be (n, n), a row and a column for each pair, not of shape {tuple(logits[0].shape)}")


def _require_alike(*tensors: Tensor) -> None:
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len({*shapes}) > 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(f"a loss takes matrices of one shape with at least one element, not {', '.join(map(str, shapes))}")


def _batch_kl(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student) of row softmaxes, mean over rows."""
    return F.kl_div(
        F.log_softmax(student_logits, dim=-1),
        F.log_softmax(teacher_logits, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
