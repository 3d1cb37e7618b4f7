import copy
import json
import math

import numpy as np
import pytest
import torch

from tests.models import EMBEDDING, KERNELS, PIXELS, RandomBatches, SameBatch, TinyDualEncoder
from tests.tolerances import BFLOAT16, FLOAT32, FLOAT64, LINEAR_RECURSION, POWER
from tracer import schedules
from tracer.averaging import Beta, Clock, Static, Uniform
from tracer.errors import UserError
from tracer.models.linear import LinearDualEncoder
from tracer.tracking import JsonLines, read
from tracer.training import confidence, distances
from tracer.training.batches import Batch
from tracer.training.checkpoints import Checkpoints
from tracer.training.objective import Objective, Pairing
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.throughput import NAMES as PACE
from tracer.training.trainer import Loop, Trainer

ALL_TERMS = {"contrastive": 1.0, "crd": 0.5, "fd": 3.0, "icl": 0.7, "cross_kd": 0.3}
REPLAYED = {"replay_fd": 4.0, "replay_text_fd": 3.0, "replay_crd": 0.6}
WITH_REPLAY = {**ALL_TERMS, **REPLAYED}
UNEVEN = {"size": 7, "replay": 5, "replay_texts": 4}


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.lines = {}

    def log(self, values, step):
        self.lines[step] = values


def train(model, batches, weights, loop, *, teacher_seed=None, rate=1.0, **parts):
    """Plain SGD on a model; with `teacher_seed`, distilled from another static model."""
    teacher = None
    if teacher_seed is not None:
        teacher = Teacher(TinyDualEncoder(seed=teacher_seed), Static(), Clock(loop.total_steps))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    objective = weights if isinstance(weights, Objective) else Objective(weights)
    trainer = Trainer(model, batches, objective, optimizer, loop, **{"teacher": teacher, **parts})
    trainer.fit()
    return trainer


def one_step_gradients(weights, micro_batch_size=None, dropout=0.0, teacher_seed=9, size=7, replay=0, replay_texts=0, **parts):
    """What one step of SGD with rate 1 subtracts from every parameter, in float64."""
    model = TinyDualEncoder(seed=1, dropout=dropout).double()
    before = [p.detach().clone() for p in model.parameters()]
    loop = Loop(1, precision="fp64", micro_batch_size=micro_batch_size)
    torch.manual_seed(5)
    train(model, RandomBatches(1, size, replay, replay_texts), weights, loop, teacher_seed=teacher_seed, **parts)
    names = [name for name, _ in model.named_parameters()]
    return {n: b - p.detach() for n, b, p in zip(names, before, model.parameters(), strict=True)}


def in_double(batch):
    return Batch(*(part.double() if part.is_floating_point() else part for part in batch if part is not None))


def side_by_side(model, held_to, batch):
    """The weighted replay terms of a batch by their formulas, each set of inputs embedded on its own."""
    images, texts = (
        [torch.nn.functional.normalize(encode(part), dim=-1) for encode in encoders]
        for part, encoders in (
            (batch.replay, (model.encode_image, held_to.encode_image)),
            (batch.replay_tokens, (model.encode_text, held_to.encode_text)),
        )
    )
    images[1], texts[1] = images[1].detach(), texts[1].detach()
    logits = [each.logit_scale * i @ t.T for each, i, t in zip((model, held_to), images, texts, strict=True)]
    both = [[each.log_softmax(dim) for each in logits] for dim in (0, 1)]
    apart = sum((kept.exp() * (kept - mine)).sum(dim).mean() for dim, (mine, kept) in enumerate(both)) / 2
    distances = [((mine - kept) ** 2).mean() for mine, kept in (images, texts)]
    weights = (REPLAYED[name] for name in ("replay_fd", "replay_text_fd", "replay_crd"))
    return sum(weight * value for weight, value in zip(weights, (*distances, apart), strict=True))


def largest_difference(mine, theirs):
    return max((mine[name] - theirs[name]).abs().max().item() for name in theirs)


class TestOneStep:
    def test_equals_gradient_descent_by_hand(self):
        """The contrastive gradient of a linear model: dL/dS = (row softmax + column softmax - 2 I) / 2n."""
        rng = np.random.default_rng(1)
        inputs, texts, start = rng.standard_normal((5, 4)), rng.standard_normal((5, 3)), rng.standard_normal((3, 4))
        scale, rate = 1.7, 0.3
        similarities = scale * inputs @ start.T @ texts.T
        rows = np.exp(similarities) / np.exp(similarities).sum(axis=1, keepdims=True)
        columns = np.exp(similarities) / np.exp(similarities).sum(axis=0, keepdims=True)
        upstream = (rows + columns - 2 * np.eye(5)) / 10
        expected = start - rate * scale * (upstream @ texts).T @ inputs
        model = LinearDualEncoder(torch.from_numpy(start), logit_scale=scale)
        batch = Batch(torch.from_numpy(inputs), torch.from_numpy(texts))
        train(model, SameBatch(batch, 1), {"contrastive": 1.0}, Loop(1, precision="fp64"), rate=rate)
        np.testing.assert_allclose(model.weight.detach().numpy(), expected, atol=FLOAT64, rtol=0)

    def test_clipping_scales_the_whole_gradient(self):
        model = TinyDualEncoder(seed=1).double()
        before = [p.detach().clone() for p in model.parameters()]
        gradients = one_step_gradients({"contrastive": 1.0}, teacher_seed=None, size=6)
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients.values()))
        tracker = Recorder()
        loop = Loop(1, precision="fp64", max_gradient_norm=norm / 10, log_every_steps=1)
        train(model, RandomBatches(1), {"contrastive": 1.0}, loop, trackers=[tracker])
        for gradient, old, new in zip(gradients.values(), before, model.parameters(), strict=True):
            torch.testing.assert_close(old - new, gradient / 10, rtol=1e-4, atol=1e-7)
        assert tracker.lines[1]["gradient_norm"] == pytest.approx(norm)

    def test_gradients_below_the_bound_are_left_alone(self):
        free, bounded = (TinyDualEncoder(seed=1).double() for _ in range(2))
        train(free, RandomBatches(1), {"contrastive": 1.0}, Loop(1, precision="fp64"))
        train(bounded, RandomBatches(1), {"contrastive": 1.0}, Loop(1, precision="fp64", max_gradient_norm=1e6))
        assert all(torch.equal(a, b) for a, b in zip(free.parameters(), bounded.parameters(), strict=True))

    def test_logit_scale_is_clamped(self):
        model = TinyDualEncoder()
        with torch.no_grad():
            model.log_scale.fill_(math.log(50))
        train(model, RandomBatches(1), {"contrastive": 1.0}, Loop(1, max_logit_scale=10.0), rate=0.0)
        assert model.logit_scale.item() == pytest.approx(10)

    def test_weight_terms_and_anchor_enter(self):
        """SGD on L2-SP alone goes (1 - rate) of the way off the anchor."""
        model, anchor = TinyDualEncoder(seed=1), TinyDualEncoder(seed=2)
        kept = copy.deepcopy(anchor.state_dict())
        expected = [torch.lerp(p.detach(), a, 0.25) for p, a in zip(model.parameters(), anchor.parameters(), strict=True)]
        train(model, RandomBatches(1), {"l2_sp": 1.0}, Loop(1), rate=0.25, anchor=anchor)
        for p, e in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(p.detach(), e)
        assert all(torch.equal(value, kept[name]) for name, value in anchor.state_dict().items())


class TestMicroBatches:
    @pytest.mark.parametrize("size", [1, 2, 3, 6])
    def test_gradients_are_those_of_the_whole_batch(self, size):
        whole = one_step_gradients(ALL_TERMS)
        assert whole["log_scale"].abs() > 1e-3
        assert largest_difference(one_step_gradients(ALL_TERMS, size), whole) <= FLOAT64

    def test_batches_no_larger_than_one_chunk_are_not_cut(self):
        whole = one_step_gradients(ALL_TERMS)
        assert all(torch.equal(g, whole[name]) for name, g in one_step_gradients(ALL_TERMS, 7).items())

    def test_mean_of_chunk_losses_is_something_else(self):
        """The null: losses of chunks see fewer negatives."""
        whole = one_step_gradients(ALL_TERMS, size=6)
        model, teacher = TinyDualEncoder(seed=1).double(), TinyDualEncoder(seed=9).double()
        objective = Objective(ALL_TERMS)
        images, tokens, *_ = in_double(RandomBatches(1, 6)[0])
        for rows in (slice(0, 3), slice(3, 6)):
            pairing = Pairing(model(images[rows], tokens[rows]), teacher(images[rows], tokens[rows]))
            (objective.total(objective.of_features(pairing)) / 2).backward()
        naive = {name: p.grad for name, p in model.named_parameters()}
        assert largest_difference(naive, whole) >= POWER * FLOAT64
        assert (naive["log_scale"] - whole["log_scale"]).abs() >= POWER * FLOAT64

    def test_weight_terms_count_once(self):
        """Not once a chunk."""
        weights = {"contrastive": 1.0, "cross_projection_norm": 2.0, "orthogonality": 0.5}
        whole = one_step_gradients(weights, teacher_seed=None)
        assert largest_difference(one_step_gradients(weights, 2, teacher_seed=None), whole) <= FLOAT64

    @pytest.mark.parametrize("size", [None, 2])
    def test_towers_outside_the_objective_get_no_gradient(self, size):
        """Not even zeros, under which AdamW would decay them."""
        model = TinyDualEncoder()
        train(model, RandomBatches(1), {"embedding_norm": 1.0}, Loop(1, micro_batch_size=size))
        got_one = {name for name, p in model.named_parameters() if p.grad is not None}
        assert got_one == {name for name, _ in model.named_parameters() if name.startswith("image")}

    def test_dropout_is_the_same_in_both_passes(self):
        """The gradient is that of one random network, the one whose features entered the loss."""
        model, objective = TinyDualEncoder(seed=1, dropout=0.5).double().train(), Objective({"contrastive": 1.0})
        images, tokens, *_ = in_double(RandomBatches(1, 7)[0])
        torch.manual_seed(5)
        chunks = [model(i, t) for i, t in zip(images.split(3), tokens.split(3), strict=True)]
        features = chunks[0]._replace(image=torch.cat([c.image for c in chunks]), text=torch.cat([c.text for c in chunks]))
        objective.total(objective.of_features(Pairing(features))).backward()
        expected = {name: p.grad for name, p in model.named_parameters()}
        ours = one_step_gradients({"contrastive": 1.0}, 3, dropout=0.5, teacher_seed=None)
        assert largest_difference(ours, expected) <= FLOAT64
        undropped = one_step_gradients({"contrastive": 1.0}, 3, teacher_seed=None)
        assert largest_difference(undropped, expected) >= POWER * FLOAT64


class TestReplay:
    def test_gradient_is_that_of_the_losses_side_by_side(self):
        """Pairs and replay embedded each on their own, the replay terms written out."""
        batch, model, teacher = in_double(RandomBatches(1, **UNEVEN)[0]), TinyDualEncoder(seed=1), TinyDualEncoder(seed=9)
        model, teacher, objective = model.double(), teacher.double(), Objective(ALL_TERMS)
        terms = objective.of_features(Pairing(model(*batch[:2]), teacher(*batch[:2])))
        (objective.total(terms) + side_by_side(model, teacher, batch)).backward()
        expected = {name: p.grad for name, p in model.named_parameters()}
        assert largest_difference(one_step_gradients(WITH_REPLAY, **UNEVEN), expected) <= FLOAT64
        assert largest_difference(one_step_gradients(ALL_TERMS, **UNEVEN), expected) >= POWER * FLOAT64

    @pytest.mark.parametrize("size", [None, 2])
    def test_pretrained_model_may_be_what_it_is_held_to(self, size):
        """Beside a teacher of its own: the anchor is shown replay, the teacher the pairs."""
        batch, model = in_double(RandomBatches(1, **UNEVEN)[0]), TinyDualEncoder(seed=1).double()
        teacher, anchor = TinyDualEncoder(seed=9).double(), TinyDualEncoder(seed=8).double()
        objective = Objective(ALL_TERMS)
        terms = objective.of_features(Pairing(model(*batch[:2]), teacher(*batch[:2])))
        (objective.total(terms) + side_by_side(model, anchor, batch)).backward()
        expected = {name: p.grad for name, p in model.named_parameters()}
        ours = one_step_gradients(Objective(WITH_REPLAY, "anchor"), size, anchor=TinyDualEncoder(seed=8), **UNEVEN)
        assert largest_difference(ours, expected) <= FLOAT64
        assert largest_difference(one_step_gradients(WITH_REPLAY, size, **UNEVEN), expected) >= POWER * FLOAT64

    def test_pretrained_model_alone_needs_no_teacher(self):
        batches, anchor = RandomBatches(2, **UNEVEN), TinyDualEncoder(seed=8)
        objective = Objective({"contrastive": 1.0, **REPLAYED}, "anchor")
        trainer = train(TinyDualEncoder(), batches, objective, Loop(2), rate=0.1, anchor=anchor)
        assert trainer.teacher is None
        for p, e in zip(anchor.parameters(), TinyDualEncoder(seed=8).parameters(), strict=True):
            assert p.grad is None
            assert torch.equal(p, e)

    def test_pretrained_model_must_be_there(self):
        with pytest.raises(UserError, match=r"holds to the pretrained model and there is none"):
            train(TinyDualEncoder(), RandomBatches(1, **UNEVEN), Objective(REPLAYED, "anchor"), Loop(1))

    @pytest.mark.parametrize("size", [1, 2, 3, 6])
    def test_gradients_in_chunks_are_those_of_the_whole_batch(self, size):
        """Of 7 pairs and 5 replay images: with chunks of 1 some have none."""
        whole = one_step_gradients(WITH_REPLAY, **UNEVEN)
        assert largest_difference(one_step_gradients(WITH_REPLAY, size, **UNEVEN), whole) <= FLOAT64

    def test_mean_over_chunks_is_something_else(self):
        """The null: 5 replay images in 3 chunks, 2 + 2 + 1, the last of which would count double."""
        whole = one_step_gradients({"replay_fd": 1.0}, **UNEVEN)
        model, teacher = TinyDualEncoder(seed=1).double(), TinyDualEncoder(seed=9).double()
        _, tokens, replay, *_ = in_double(RandomBatches(1, **UNEVEN)[0])
        for chunk in replay.tensor_split(3):
            ((model(chunk, tokens).image - teacher(chunk, tokens).image.detach()).square().mean() / 3).backward()
        image = {name: p.grad for name, p in model.named_parameters() if name.startswith("image")}
        assert largest_difference({name: whole[name] for name in image}, image) >= POWER * FLOAT64

    @pytest.mark.parametrize(("size", "calls"), [(None, 1), (3, 6)])
    def test_pairs_and_replay_pass_in_one_forward(self, size, calls):
        """One call a pass (each chunk has two), the only thing that a wrapper sees."""
        model, seen = TinyDualEncoder(seed=1), []
        model.register_forward_pre_hook(lambda module, inputs: seen.append([len(part) for part in inputs]))
        train(model, RandomBatches(1, **UNEVEN), WITH_REPLAY, Loop(1, micro_batch_size=size), teacher_seed=9)
        assert len(seen) == calls
        assert [sum(lengths) for lengths in zip(*seen[-3:], strict=True)] == [7 + 5, 7 + 4]

    def test_teacher_stays_as_it_is(self):
        trainer = train(TinyDualEncoder(), RandomBatches(2, **UNEVEN), {"replay_fd": 1.0}, Loop(2), teacher_seed=9)
        expected = TinyDualEncoder(seed=9)
        for p, e in zip(trainer.teacher.module.parameters(), expected.parameters(), strict=True):
            assert p.grad is None
            assert torch.equal(p, e)

    def test_background_workers_bring_the_same(self):
        models = [TinyDualEncoder(seed=1) for _ in range(2)]
        for model, workers in zip(models, (0, 2), strict=True):
            train(model, RandomBatches(3, **UNEVEN), WITH_REPLAY, Loop(3, workers=workers), teacher_seed=9, rate=0.1)
        assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))

    def test_batches_without_replay_images_are_told(self):
        with pytest.raises(UserError, match=r"^the replay_fd term .* the batch has none: give it some$"):
            train(TinyDualEncoder(), RandomBatches(1), WITH_REPLAY, Loop(1), teacher_seed=9)


class TestTeachersWeights:
    def test_static_teacher_pulls_as_the_anchor_does(self):
        models = [TinyDualEncoder(seed=1) for _ in range(3)]
        parts = {"l2_sp": {"anchor": TinyDualEncoder(seed=1)}, "l2_teacher": {"teacher_seed": 1}, "crd": {"teacher_seed": 1}}
        for model, (term, part) in zip(models, parts.items(), strict=True):
            train(model, RandomBatches(5), {"contrastive": 1.0, term: 0.5}, Loop(5), rate=0.1, **part)
        anchored, taught, other = ([p.detach() for p in model.parameters()] for model in models)
        assert all(torch.equal(a, t) for a, t in zip(anchored, taught, strict=True))
        assert not any(torch.equal(a, o) for a, o in zip(anchored, other, strict=True))

    def test_a_step_goes_towards_the_teacher_of_that_step(self):
        """SGD on the distance alone goes the rate of the way off the teacher, which stays where it was."""
        model = TinyDualEncoder(seed=1)
        expected = [
            torch.lerp(p.detach(), t.detach(), 0.25)
            for p, t in zip(model.parameters(), TinyDualEncoder(seed=9).parameters(), strict=True)
        ]
        trainer = train(model, RandomBatches(1), {"l2_teacher": 1.0}, Loop(1), rate=0.25, teacher_seed=9)
        for p, e in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(p.detach(), e)
        for p, t in zip(trainer.teacher.module.parameters(), TinyDualEncoder(seed=9).parameters(), strict=True):
            assert p.grad is None
            assert torch.equal(p, t)


# with the weight that makes it half a squared distance in the metric: FD is a mean over n k elements, and k = 3
TERM_OF_METRIC = {"data": ("fd", 1.5), "replay": ("replay_fd", 1.5), "parameters": ("l2_teacher", 1.0)}


class TestTheory:
    """Section 4's recursion, exactly: the trainer on a linear model, linearised loss, plain SGD, float64."""

    STEPS, RATE, PENALTY, STRENGTH = 200, 0.05, 0.8, 1.3

    @pytest.fixture
    def problem(self):
        rng = np.random.default_rng(2)
        n, d, k = 12, 8, 3
        inputs = rng.standard_normal((n, d)) * np.geomspace(1, 0.1, d)
        return inputs, rng.standard_normal((n, k)), rng.standard_normal((k, d)), rng.standard_normal((5, d))

    def recursion(self, problem, kernel, clock, metric="data"):
        """W_{t+1} = W_t - eta (rho W_t S - C + lambda (W_t - Wbar_t) D), Wbar_t from all past weights anew."""
        inputs, texts, start, replay = problem
        n = len(inputs)
        moment, cross = inputs.T @ inputs / n, (texts - texts.mean(axis=0)).T @ inputs / n
        moment_compared = {"data": moment, "replay": replay.T @ replay / len(replay), "parameters": np.eye(len(moment))}[metric]
        students, teacher = [start], start
        for step in range(1, self.STEPS + 1):
            w = students[-1]
            gradient = self.PENALTY * w @ moment - cross + self.STRENGTH * (w - teacher) @ moment_compared
            students.append(w - self.RATE * gradient)
            if clock.updates_at(step):
                weights = kernel.weights(clock, step // clock.update_every)
                teacher = np.tensordot(weights, np.stack(students[:: clock.update_every]), 1)
        return students[-1], teacher

    @pytest.mark.parametrize("update_every", [1, 7])
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("metric", TERM_OF_METRIC)
    def test_linear_run_is_the_recursion(self, problem, metric, kernel, update_every):
        inputs, texts, start, replay = (torch.from_numpy(part) for part in problem)
        clock = Clock(self.STEPS, update_every)
        model = LinearDualEncoder(start)
        teacher = Teacher(model, kernel, clock)
        term, scale = TERM_OF_METRIC[metric]
        weights = {"linearised_contrastive": 1.0, "embedding_norm": self.PENALTY, term: scale * self.STRENGTH}
        batches = SameBatch(Batch(inputs, texts, replay if metric == "replay" else None), self.STEPS)
        train(model, batches, weights, Loop(self.STEPS, precision="fp64"), teacher=teacher, rate=self.RATE)
        student, average = self.recursion(problem, kernel, clock, metric)
        for ours, expected in ((model.weight, student), (teacher.module.weight, average)):
            error = np.linalg.norm(ours.detach().numpy() - expected) / np.linalg.norm(expected)
            assert error <= LINEAR_RECURSION
        assert np.linalg.norm(student - problem[2]) > 0.1

    def test_another_kernel_is_told_apart(self, problem):
        """The null of the test above: beta off by 1 % already misses its tolerance by far."""
        clock = Clock(self.STEPS)
        right, _ = self.recursion(problem, Beta(0.5, 0.5), clock)
        wrong, _ = self.recursion(problem, Beta(0.505, 0.5), clock)
        assert np.linalg.norm(right - wrong) / np.linalg.norm(right) >= POWER * LINEAR_RECURSION

    @pytest.mark.parametrize(("metric", "other"), [("data", "replay"), ("replay", "parameters"), ("parameters", "data")])
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    def test_another_metric_is_told_apart(self, problem, kernel, metric, other):
        right, wrong = (self.recursion(problem, kernel, Clock(self.STEPS), name)[0] for name in (metric, other))
        assert np.linalg.norm(right - wrong) / np.linalg.norm(right) >= POWER * LINEAR_RECURSION


class TestPrecision:
    @pytest.mark.parametrize(("weights", "replay"), [(ALL_TERMS, 0), (WITH_REPLAY, 4)], ids=["pairs", "replay"])
    @pytest.mark.parametrize("micro_batch_size", [None, 2])
    def test_bf16_keeps_float32_weights(self, micro_batch_size, weights, replay):
        """Two runs of one process, too, in which neither precision stays behind."""
        exact, rounded = Recorder(), Recorder()
        for precision, tracker in (("fp32", exact), ("bf16", rounded)):
            model = TinyDualEncoder(seed=1)
            loop = Loop(3, precision=precision, micro_batch_size=micro_batch_size, log_every_steps=1)
            train(
                model,
                RandomBatches(3, replay=replay, replay_texts=replay),
                weights,
                loop,
                teacher_seed=9,
                rate=0.1,
                trackers=[tracker],
            )
            assert {p.dtype for p in model.parameters()} == {torch.float32}
        for step in (1, 2, 3):
            assert rounded.lines[step]["loss"] == pytest.approx(exact.lines[step]["loss"], rel=BFLOAT16)
            assert rounded.lines[step]["loss"] != exact.lines[step]["loss"]

    def test_fp64_computes_everything_in_float64(self):
        model, anchor = TinyDualEncoder(), TinyDualEncoder(seed=2)
        teacher = Teacher(model, Uniform(), Clock(1))
        train(model, RandomBatches(1), ALL_TERMS, Loop(1, precision="fp64"), teacher=teacher, anchor=anchor)
        for module in (model, anchor, teacher.module):
            assert {p.dtype for p in module.parameters()} == {torch.float64}


class TestSchedule:
    def test_every_group_follows_warm_up_and_cosine(self):
        model, total, warmup = TinyDualEncoder(), 10, 3
        groups = [{"params": [model.log_scale], "lr": 0.5}, {"params": model.words.parameters(), "lr": 0.1}]
        optimizer = torch.optim.SGD(groups)
        rates, tracker = [], Recorder()
        Trainer(
            model,
            RandomBatches(total),
            Objective({"contrastive": 1.0}),
            optimizer,
            Loop(total, schedules.cosine(total, warmup), log_every_steps=1),
            trackers=[tracker],
            on_step=lambda step: rates.append([group["lr"] for group in optimizer.param_groups]),
        ).fit()
        decay = [(1 + math.cos(math.pi * t / (total - warmup))) / 2 for t in range(total - warmup)]
        expected = [1 / 3, 2 / 3, 1.0, *decay]
        np.testing.assert_allclose(rates, np.outer(expected, [0.5, 0.1]))
        assert [tracker.lines[s]["learning_rate"] for s in range(1, 11)] == pytest.approx([0.5 * m for m in expected])


class TestParameterGroups:
    def test_only_matrices_decay(self):
        model = TinyDualEncoder()
        model.image[0].weight.requires_grad_(False)
        decaying, others = parameter_groups(model, 0.1)
        names = {p: name for name, p in model.named_parameters()}
        assert decaying["weight_decay"] == 0.1
        assert others["weight_decay"] == 0
        assert {names[p] for p in decaying["params"]} == {
            "image_projection.weight",
            "words.weight",
            "text_projection.weight",
        }
        assert {names[p] for p in others["params"]} == {"image.0.bias", "image.1.weight", "image.1.bias", "log_scale"}


class Broken(RandomBatches):
    """Batches of which one, by its position, is not a number."""

    def __init__(self, steps, broken):
        super().__init__(steps)
        self.broken = broken

    def __getitem__(self, step):
        batch = super().__getitem__(step)
        return Batch(batch.images * math.nan, batch.tokens) if step == self.broken else batch


class TestNonFiniteLoss:
    @pytest.mark.parametrize("log_every", [1, 1000])
    def test_stops_in_a_sentence_and_saves_nothing_since(self, tmp_path, log_every):
        loop = Loop(9, log_every_steps=log_every, checkpoint_every_steps=2)
        checkpoints = Checkpoints(tmp_path, {})
        with pytest.raises(UserError, match=r"^the loss is nan at step \d+: lower optimization.learning_rate [^\n]+$"):
            train(TinyDualEncoder(), Broken(9, 4), {"contrastive": 1.0}, loop, checkpoints=checkpoints)
        assert [path.name for path in checkpoints.paths()] == ["step-00000002.safetensors", "step-00000004.safetensors"]

    def test_is_not_logged(self):
        tracker = Recorder()
        with pytest.raises(UserError):
            train(TinyDualEncoder(), Broken(3, 1), {"contrastive": 1.0}, Loop(3, log_every_steps=1), trackers=[tracker])
        assert list(tracker.lines) == [1]


class TestMetrics:
    def test_lines_hold_every_term_gap_and_rate(self, tmp_path):
        model, anchor = TinyDualEncoder(seed=1), TinyDualEncoder(seed=2)
        trackers = [JsonLines(tmp_path / "metrics.jsonl"), JsonLines(tmp_path / "again.jsonl")]
        loop = Loop(7, log_every_steps=3)
        train(model, RandomBatches(7), ALL_TERMS, loop, teacher_seed=9, anchor=anchor, trackers=trackers)
        lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert lines == read(tmp_path / "metrics.jsonl") == read(tmp_path / "again.jsonl"), "all trackers are told the same"
        assert [line["step"] for line in lines] == [3, 6]
        gap_names = {"gap.student_anchor", "gap.student_teacher", "gap.batch_kl"}
        certainties = {f"{who}.{what}" for who in ("teacher", "student") for what in ("entropy", "confidence")}
        scalars = {"step", "loss", "logit_scale", "gradient_norm", "learning_rate", *gap_names, *certainties, *PACE}
        assert all(0 < line[name] < math.inf for line in lines for name in PACE)
        assert set(lines[0]) == scalars | {f"terms.{name}" for name in ALL_TERMS}
        for line in lines:
            assert line["loss"] == pytest.approx(sum(w * line[f"terms.{name}"] for name, w in ALL_TERMS.items()))

    def test_gaps_are_taken_before_the_step(self):
        tracker, model = Recorder(), TinyDualEncoder(seed=1)
        train(
            model,
            RandomBatches(2),
            {"contrastive": 1.0},
            Loop(2, log_every_steps=1),
            teacher=Teacher(model, Uniform(), Clock(2)),
            trackers=[tracker],
        )
        assert tracker.lines[1]["gap.student_teacher"] == 0
        assert tracker.lines[1]["gap.batch_kl"] == pytest.approx(0, abs=1e-6)
        assert tracker.lines[2]["gap.student_teacher"] > 0.01

    @pytest.mark.parametrize(
        ("module", "name", "calls"), [(distances, "batch_kl", 1), (confidence, "entropy", 2), (confidence, "confidence", 2)]
    )
    def test_steps_without_a_line_compute_no_report(self, monkeypatch, module, name, calls):
        counted = []
        monkeypatch.setattr(module, name, lambda given: counted.append(1) or torch.tensor(0.0))
        loop = Loop(20, log_every_steps=10)
        train(TinyDualEncoder(), RandomBatches(20), ALL_TERMS, loop, teacher_seed=9)
        assert len(counted) == 2 * calls

    def test_certainties_are_of_the_step_s_own_logits(self):
        """The first line's teacher is another model than its student; each is judged by its own logits."""
        tracker, model, batches = Recorder(), TinyDualEncoder(seed=1), RandomBatches(1)
        other = TinyDualEncoder(seed=9)
        with torch.no_grad():
            pairs = {"student": model(*batches[0][:2]), "teacher": other(*batches[0][:2])}
        train(model, batches, ALL_TERMS, Loop(1, log_every_steps=1), teacher_seed=9, anchor=other, trackers=[tracker])
        for name, features in pairs.items():
            logits = features.logit_scale * features.image @ features.text.T
            assert tracker.lines[1][f"{name}.entropy"] == pytest.approx(confidence.entropy(logits).item(), rel=FLOAT32)
            assert tracker.lines[1][f"{name}.confidence"] == pytest.approx(confidence.confidence(logits).item(), rel=FLOAT32)
        assert tracker.lines[1]["student.entropy"] != pytest.approx(tracker.lines[1]["teacher.entropy"], rel=POWER * FLOAT32)

    def test_on_step_counts_every_step(self):
        seen = []
        train(TinyDualEncoder(), RandomBatches(4), {"contrastive": 1.0}, Loop(4), on_step=seen.append)
        assert seen == [1, 2, 3, 4]


class TestModes:
    def test_student_trains_in_train_mode_and_leaves_in_eval_mode(self):
        modes, model = [], TinyDualEncoder().eval()
        train(model, RandomBatches(1), {"contrastive": 1.0}, Loop(1), on_step=lambda _: modes.append(model.training))
        assert modes == [True]
        assert not model.training

    @pytest.mark.parametrize(("term", "missing"), [("fd", "teacher"), ("l2_teacher", "teacher"), ("l2_sp", "anchor")])
    def test_missing_parts_are_named(self, term, missing):
        with pytest.raises(UserError, match=f"give .* {missing}"):
            train(TinyDualEncoder(), RandomBatches(1), {term: 1.0}, Loop(1))

    def test_linear_model_keeps_its_shape(self):
        """Batches cut to chunks serve a model with constant logit scale too, and leave it constant."""
        model = LinearDualEncoder(torch.zeros(EMBEDDING, PIXELS))
        batch = Batch(torch.randn(6, PIXELS), torch.randn(6, EMBEDDING))
        train(model, SameBatch(batch, 1), {"contrastive": 1.0}, Loop(1, micro_batch_size=2))
        assert model.weight.abs().sum() > 0
        assert not model.logit_scale.requires_grad
