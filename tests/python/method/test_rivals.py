"""The rivals' losses worked out by hand, whom their gradients reach, and that they do what they are made for."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stpl.data.classes import IGNORE_ID
from stpl.errors import UserError
from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.objectives.hcl import Hcl, HclConfig, category_loss, consistency, instance_loss, reliability
from stpl.method.objectives.shot import Shot, ShotConfig, centroid_labels, encoder_parameters
from stpl.method.objectives.tent import Tent
from stpl.method.objectives.tps import Tps
from stpl.method.sampling import Sample
from stpl.method.views import Views
from stpl.models import CompactNet

CLASSES = 4


def network(seed: int = 0) -> CompactNet:
    torch.manual_seed(seed)
    return CompactNet(CLASSES, width=8, feature_channels=8).eval()


def views(seed: int = 0, pairs: int = 2) -> Views:
    torch.manual_seed(seed)
    present, past = torch.randn(2, pairs, 3, 32, 48)
    flow = torch.randn(pairs, 2, 32, 48)
    noise = 0.1 * torch.randn(2, pairs, 3, 32, 48)
    return Views(present, past, present + noise[0], past + noise[1], flow)


class Given(nn.Module):
    """Gives the logits it is told, whatever the frame, through one weight so that there is a gradient."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.num_classes = self.feature_channels = logits.shape[1]
        self.register_buffer("given", logits)
        self.weight = nn.Parameter(torch.ones(()))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.given * self.weight

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(self.features(images))


class FirstChannels(Given):
    """Logits are ten times the frame's first channels: what a frame shows is what its labels are."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * images[:, : self.num_classes] * self.weight


def of(probabilities: list[list[float]]) -> torch.Tensor:
    """Logits ``(1, C, 1, P)`` of P pixels from their class probabilities."""
    return torch.tensor(probabilities).T.log()[None, :, None]


def h(*probabilities: float) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def nothing() -> Views:
    return Views(*[torch.zeros(1, 3, 1, 2)] * 4, torch.zeros(1, 2, 1, 2))


def test_entropy_is_that_of_the_softmax():
    values = entropy(of([[0.5, 0.5], [0.9, 0.1]]))
    torch.testing.assert_close(values, torch.tensor([[[h(0.5, 0.5), h(0.9, 0.1)]]]))
    assert float(entropy(torch.tensor([[1e4, -1e4]]))) == 0.0


def test_tent_is_the_mean_entropy():
    loss = Tent()(nothing(), Given(of([[0.5, 0.5], [0.9, 0.1]])), None)["loss"].detach()
    assert float(loss) == pytest.approx((h(0.5, 0.5) + h(0.9, 0.1)) / 2, rel=1e-5)


def test_shot_is_entropy_minus_diversity():
    parts = Shot()(nothing(), Given(of([[0.6, 0.4], [0.8, 0.2]])), None)
    assert float(parts["entropy"]) == pytest.approx((h(0.6, 0.4) + h(0.8, 0.2)) / 2, rel=1e-5)
    assert float(parts["diversity"]) == pytest.approx(h(0.7, 0.3), rel=1e-5)
    assert float(parts["loss"].detach()) == pytest.approx(float(parts["entropy"] - parts["diversity"]), rel=1e-4)


def test_shots_diversity_counts_by_its_weight():
    parts = Shot(ShotConfig(diversity_weight=0.25))(nothing(), Given(of([[0.6, 0.4], [0.8, 0.2]])), None)
    assert float(parts["loss"].detach()) == pytest.approx(float(parts["entropy"] - 0.25 * parts["diversity"]), rel=1e-4)


def test_shots_gradient_is_that_of_the_formula():
    logits = torch.randn(2, CLASSES, 3, 3, requires_grad=True)
    model = Given(logits.detach())
    Shot()(nothing(), model, None)["loss"].backward()
    p = (logits * 1.0).softmax(dim=1)
    mean = p.mean(dim=(0, 2, 3))
    (-(p * p.log()).sum(1).mean() + (mean * mean.log()).sum()).backward()
    expected = float((logits.grad * logits.detach()).sum())
    assert float(model.weight.grad) == pytest.approx(expected, rel=1e-4)


def test_tent_trains_scales_and_shifts_alone():
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained = {names[id(parameter)] for parameter in Tent().trainable(model)}
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert trained == {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}


def test_tent_without_normalisation_is_refused():
    with pytest.raises(UserError, match="normalisation"):
        Tent().trainable(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4, affine=False)))


def test_shot_leaves_the_classifier():
    model = network()
    trained = {id(parameter) for parameter in Shot().trainable(model)}
    left = {name for name, parameter in model.named_parameters() if id(parameter) not in trained}
    assert left == {"classifier.weight", "classifier.bias"}
    assert len(encoder_parameters(model)) == len(trained) and not model.training


def test_centroids_name_a_pixel_by_its_neighbours_in_feature_space():
    # Four pixels point along x, four along y; one of each is predicted as the other, without conviction.
    features = torch.tensor([[9.0, 0.0]] * 4 + [[0.0, 9.0]] * 4).T.reshape(1, 2, 2, 4)
    first = [0.95, 0.95, 0.95, 0.45, 0.05, 0.05, 0.05, 0.55]
    p = [[value, 1 - value, 0.0] for value in first]
    logits = torch.tensor(p).clamp_min(1e-6).log().T.reshape(1, 3, 2, 4)
    assert logits.argmax(dim=1).tolist() == [[[0, 0, 0, 1], [1, 1, 1, 0]]]
    assert centroid_labels(features, logits).tolist() == [[[0, 0, 0, 0], [1, 1, 1, 1]]]


def test_centroids_are_computed_in_f32_whatever_the_networks_are():
    torch.manual_seed(0)
    # All point nearly the same way, as features after a ReLU do: cosines differ by less than bf16 can tell.
    features, logits = 1.0 + 0.05 * torch.randn(1, 16, 24, 24), torch.randn(1, CLASSES, 24, 24)
    expected = centroid_labels(features, logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(centroid_labels(features, logits), expected)


def test_shots_pseudo_labels_are_added_by_their_weight():
    model, batch = network(), views()
    plain = Shot()(batch, model, model)
    parts = Shot(ShotConfig(pseudo_label_weight=0.3))(batch, model, model)
    assert "loss_pseudo_labels" not in plain
    assert float((parts["loss"] - plain["loss"]).detach()) == pytest.approx(
        0.3 * float(parts["loss_pseudo_labels"]), rel=1e-4
    )
    features = model.features(batch.present)
    expected = F.cross_entropy(model.logits(features), centroid_labels(features, model.logits(features)))
    assert float(parts["loss_pseudo_labels"]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_tps_learns_the_past_labels_where_the_flow_brings_them():
    # A vertical edge at column 4 of frame t-1; frame t sees what was two columns further right.
    past = torch.zeros(1, 3, 2, 8)
    past[:, 0, :, :4], past[:, 1, :, 4:] = 1.0, 1.0
    flow = torch.zeros(1, 2, 2, 8)
    flow[:, 0] = 2.0
    learned = torch.zeros(1, 2, 2, 8)
    learned[:, 0, :, :2], learned[:, 1, :, 2:] = 1.0, 1.0
    teacher = FirstChannels(torch.zeros(1, 2, 1, 1))
    right = Given(30 * learned)
    batch = Views(torch.zeros_like(past), past, past, past, flow)
    assert float(Tps(2)(batch, right, teacher)["loss"].detach()) == pytest.approx(0.0, abs=1e-6)
    wrong = learned.clone()
    wrong[..., :6] = wrong[:, [1, 0], :, :6]
    # The last two columns come from outside the picture and do not count: all that counts is wrong, by 30 nats.
    assert float(Tps(2)(batch, Given(30 * wrong), teacher)["loss"].detach()) == pytest.approx(30.0, rel=1e-5)


def test_consistency_is_one_where_models_agree_and_falls_with_the_divergence():
    recorded, average = of([[0.5, 0.5], [0.8, 0.2]]), of([[0.5, 0.5], [0.3, 0.7]])
    divergence = 0.8 * math.log(0.8 / 0.3) + 0.2 * math.log(0.2 / 0.7)
    torch.testing.assert_close(consistency(recorded, average), torch.tensor([[[1.0, math.exp(-divergence)]]]))


def test_reliability_stays_within_a_tenth():
    values = reliability(of([[1 - 1e-7, 1e-7], [0.98, 0.02], [0.5, 0.5]]))[0, 0]
    middle = 1.1 - h(0.98, 0.02) / math.log(2)
    torch.testing.assert_close(values, torch.tensor([1.1, middle, 0.9]), atol=1e-5, rtol=0)
    assert 0.9 < middle < 1.1


def test_category_loss_weighs_each_labelled_pixel():
    logits = of([[0.5, 0.5], [0.8, 0.2], [0.3, 0.7]])
    labels = torch.tensor([[[0, 1, IGNORE_ID]]])
    loss = category_loss(logits, labels, torch.tensor([[[1.0, 0.25, 1.0]]]))
    assert float(loss) == pytest.approx((-math.log(0.5) - 0.25 * math.log(0.2)) / 2, rel=1e-5)


@pytest.mark.parametrize("positives", ["class", "pixel"])
def test_instance_loss_is_the_formula(positives):
    torch.manual_seed(1)
    q, k = F.normalize(torch.randn(2, 6, 3), dim=-1), F.normalize(torch.randn(2, 6, 3), dim=-1)
    labels = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, IGNORE_ID, IGNORE_ID, 3]])
    sure = 0.9 + 0.2 * torch.rand(2, 6)
    losses = []
    for n in range(2):
        known = [i for i in range(6) if labels[n, i] != IGNORE_ID]
        for i in known:
            keys = [j for j in known if positives == "pixel" or j != i]
            same = [j for j in keys if (labels[n, j] == labels[n, i] if positives == "class" else j == i)]
            terms = {j: float(sure[n, j]) * math.exp(float(q[n, i] @ k[n, j]) / 0.2) for j in keys}
            if same:
                losses.append(-sum(math.log(terms[j] / sum(terms.values())) for j in same) / len(same))
    assert len(losses) == (7 if positives == "class" else 10)
    drawn = Sample(torch.arange(6).expand(2, 6), labels)
    loss = instance_loss(q, k, drawn, sure, 0.2, positives)
    assert float(loss) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_instances_without_labels_add_nothing_and_do_no_harm():
    q = F.normalize(torch.randn(1, 4, 3), dim=-1).requires_grad_()
    nobody = Sample(torch.arange(4)[None], torch.full((1, 4), IGNORE_ID))
    loss = instance_loss(q, q.detach(), nobody, torch.ones(1, 4), 0.07, "class")
    loss.backward()
    assert float(loss.detach()) == 0.0 and torch.equal(q.grad, torch.zeros_like(q))


def test_hcls_record_begins_as_the_model_and_is_renewed_by_the_average():
    model, average = network(0), network(1)
    hcl = Hcl(HclConfig(history=3), CLASSES, model)
    start = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model.classifier.bias.add_(1.0)  # the student moves on; the record does not
    for step in range(2):
        hcl.after_step(model, average, step)
    assert all(torch.equal(value, start[name]) for name, value in hcl.recorded.state_dict().items())
    hcl.after_step(model, average, 2)
    assert all(torch.equal(value, average.state_dict()[name]) for name, value in hcl.recorded.state_dict().items())
    assert any(name.startswith("recorded.") for name in hcl.state_dict())


def test_hcl_learns_the_records_labels_and_weighs_them():
    record, teacher, student = (of([[0.9, 0.1], [0.2, 0.8]]), of([[0.4, 0.6], [0.2, 0.8]]), of([[0.7, 0.3]] * 2))
    hcl = Hcl(HclConfig(), 2, Given(record))
    parts = hcl(nothing(), Given(student), Given(teacher))
    divergence = 0.9 * math.log(0.9 / 0.4) + 0.1 * math.log(0.1 / 0.6)
    expected = (-math.exp(-divergence) * math.log(0.7) - math.log(0.3)) / 2
    assert float(parts["loss_category"]) == pytest.approx(expected, rel=1e-5)


OBJECTIVES = {
    "tent": lambda model: Tent(),
    "shot": lambda model: Shot(),
    "shot with pseudo-labels": lambda model: Shot(ShotConfig(pseudo_label_weight=0.3)),
    "hcl": lambda model: Hcl(HclConfig(pixels=32), CLASSES, model),
    "hcl by pixel": lambda model: Hcl(HclConfig(pixels=32, positives="pixel"), CLASSES, model),
    "tps": lambda model: Tps(CLASSES),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_reach_what_is_trained_and_never_the_teacher(name):
    student, teacher = network(), network()
    objective: Objective = OBJECTIVES[name](student)
    trained = list(objective.trainable(student))
    losses = objective(views(), student, teacher)
    losses["loss"].backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in trained)
    assert all(not value.requires_grad for key, value in losses.items() if key != "loss")
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(not parameter.requires_grad for parameter in objective.parameters())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_brings_the_loss_down(name):
    student = network()
    teacher = copy.deepcopy(student)
    objective: Objective = OBJECTIVES[name](student)
    optimizer = torch.optim.AdamW(objective.trainable(student), lr=1e-3, weight_decay=0.0)
    batch = views()
    losses = []
    for _ in range(20):
        torch.manual_seed(3)  # the same pixels each time
        loss = objective(batch, student, teacher)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.02 * abs(losses[0])
