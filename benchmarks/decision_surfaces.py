"""Figure 2 of the QNN-alpha paper again: decision surfaces on scikit-learn's moons and circles.

    python benchmarks/decision_surfaces.py [--seeds 5] [--folder benchmarks/results]

Writes FOLDER/decision_surfaces.png (the first seed) and decision_surfaces.md (all seeds, beside the
published accuracies). Needs matplotlib: `pip install "fuxictr-qnn[plot]"`.

From the paper (KDD 2025, section 3 and figure 2): two layers of width 20, learning rate 1e-2, 500
epochs on the moons and 100 on the circles; accuracies that are multiples of 1/300, hence 300 test
points. It does not say the rest, which is chosen here: Adam on the whole training set at once,
700 training points, a Linear(2, 20) in front of the quadratic layers (their residual needs equal
widths) and a Linear(., 1) behind all of them, and the noise (0.3 and 0.1, round values that bring
the MLP near its published accuracies; scikit-learn's factor of 0.5 between the circles).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import make_circles, make_moons
from torch import Tensor, nn

from fuxictr_qnn.layers import CrossNet, QuadraticNeuron
from fuxictr_qnn.reporting.published import load_published

WIDTH, LAYERS, LEARNING_RATE = 20, 2, 1e-2
TRAIN_POINTS, TEST_POINTS, TEST_SEED = 700, 300, 1000


class Toy(NamedTuple):
    """A plane with two classes: `make(n, seed)` draws n labelled points."""

    make: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    epochs: int


TOYS = {
    "moons": Toy(lambda n, seed: make_moons(n, noise=0.3, random_state=seed), epochs=500),
    "circles": Toy(lambda n, seed: make_circles(n, noise=0.1, factor=0.5, random_state=seed), epochs=100),
}


def published_accuracies() -> dict[str, tuple[float, ...]]:
    """Model -> its accuracy in figure 2 of the paper on each toy."""
    found = [figure for figure in load_published().figures if figure.place == "figure 2"]
    return {
        name: tuple(
            f.values["accuracy"] for toy in TOYS for f in found if (f.model, f.dataset) == (name, toy)
        )
        for name in dict.fromkeys(figure.model for figure in found)
    }


PUBLISHED = published_accuracies()


class Parallel(nn.Module):
    """The outputs of several networks on the same input, side by side."""

    def __init__(self, *networks: nn.Module):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([network(x) for network in self.networks], dim=1)


def mlp(input_dim: int, activation: type[nn.Module]) -> nn.Sequential:
    widths = [input_dim] + [WIDTH] * LAYERS
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*[layer for a, b in pairs for layer in (nn.Linear(a, b), activation())])


def cross_net() -> nn.Module:
    return CrossNet(WIDTH, LAYERS, activation="none")


def quadratic(neuron_type: str) -> nn.Sequential:
    return nn.Sequential(*[QuadraticNeuron(neuron_type, WIDTH) for _ in range(LAYERS)])


def build(name: str) -> nn.Sequential:
    """(B, 2) -> (B, 1), a logit."""
    bodies = {
        "MLP": lambda: (mlp(2, nn.ReLU), nn.Linear(WIDTH, 1)),
        "MLP without activation": lambda: (mlp(2, nn.Identity), nn.Linear(WIDTH, 1)),
        "CrossNetV2": lambda: (nn.Linear(2, WIDTH), cross_net(), nn.Linear(WIDTH, 1)),
        "T9": lambda: (nn.Linear(2, WIDTH), quadratic("T9"), nn.Linear(WIDTH, 1)),
        "DCNv2": lambda: (
            nn.Linear(2, WIDTH),
            Parallel(cross_net(), mlp(WIDTH, nn.ReLU)),
            nn.Linear(2 * WIDTH, 1),
        ),
        "T19": lambda: (nn.Linear(2, WIDTH), quadratic("T19"), nn.Linear(WIDTH, 1)),
    }
    return nn.Sequential(*bodies[name]())


def tensors(arrays: tuple[np.ndarray, ...]) -> list[Tensor]:
    return [torch.tensor(array, dtype=torch.float32) for array in arrays]


class Trained(NamedTuple):
    """A trained network with the test points it had not seen, and how many of them it gets right."""

    network: nn.Module
    points: Tensor
    labels: Tensor
    accuracy: float


def train(name: str, toy: Toy, epochs: int, seed: int) -> Trained:
    """One network on one draw; the seed draws the points (the same for all networks) and the weights."""
    x, y = tensors(toy.make(TRAIN_POINTS, seed))
    points, labels = tensors(toy.make(TEST_POINTS, TEST_SEED + seed))
    torch.manual_seed(seed)
    network = build(name)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        optimizer.zero_grad()
        loss(network(x).squeeze(1), y).backward()
        optimizer.step()
    with torch.no_grad():
        right = (network(points).squeeze(1) > 0) == (labels > 0)
    return Trained(network, points, labels, right.float().mean().item())


Runs = dict[str, dict[str, list[Trained]]]  # toy -> model -> one a seed; the picture shows the first


def table(runs: Runs) -> str:
    """Published and measured accuracies, in markdown."""
    header = ["model"] + [f"{toy}: {what}" for toy in TOYS for what in ("published", "drawn", "mean")]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for model, published in PUBLISHED.items():
        cells = [model]
        for toy, paper in zip(TOYS, published, strict=True):
            values = [trained.accuracy for trained in runs[toy][model]]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells += [f"{paper:.4f}", f"{values[0]:.4f}", f"{statistics.mean(values):.4f}{spread}"]
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def draw(runs: Runs, picture: Path) -> None:
    """A row a toy, a column a model: the probability in colour, the boundary as a line, the test points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap

    colours = ("#c1572b", "#2b6ca3")
    surface = LinearSegmentedColormap.from_list("classes", ["#eebfa8", "#fafafa", "#a9c9e4"])
    figure, axes = plt.subplots(len(TOYS), len(PUBLISHED), figsize=(15, 5.6), layout="constrained")
    for row, toy in zip(axes, TOYS, strict=True):
        for axis, model in zip(row, PUBLISHED, strict=True):
            trained = runs[toy][model][0]
            points, labels = trained.points.numpy(), trained.labels.numpy()
            (left, bottom), (right, top) = points.min(axis=0) - 0.25, points.max(axis=0) + 0.25
            grid = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
            plane = torch.tensor(np.stack(grid, axis=-1), dtype=torch.float32)
            with torch.no_grad():
                probability = torch.sigmoid(trained.network(plane.view(-1, 2))).view(200, 200).numpy()
            shades = axis.imshow(
                probability,
                extent=(left, right, bottom, top),
                origin="lower",
                aspect="auto",
                cmap=surface,
                vmin=0,
                vmax=1,
            )
            axis.contour(*grid, probability, levels=[0.5], colors="black", linewidths=1)
            for label, (colour, marker) in enumerate(zip(colours, "o^", strict=True)):
                x = points[labels == label]
                axis.scatter(
                    x[:, 0], x[:, 1], s=13, c=colour, marker=marker, edgecolors="white", linewidths=0.4
                )
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{model}\naccuracy {trained.accuracy:.4f}", fontsize=11)
        row[0].set_ylabel(toy, fontsize=12)
    figure.colorbar(
        shades, ax=axes, label="predicted probability of a triangle", ticks=[0, 0.5, 1], shrink=0.6, pad=0.01
    )
    figure.savefig(picture, dpi=130, facecolor="white")
    plt.close(figure)


NOTE = """# Decision surfaces

`python benchmarks/decision_surfaces.py --seeds {seeds}`, beside figure 2 of the QNN-alpha paper.
A seed draws the points (all models see the same) and the weights; "drawn" is seed 0, which the
picture shows; then mean ± sample standard deviation over the seeds. With {points} test points, one
point is {unit:.4f} of an accuracy.

{table}
![decision surfaces](decision_surfaces.png)
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many draws, from seed 0 on")
    parser.add_argument("--epochs", type=int, help="instead of the paper's 500 and 100")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(arguments)
    runs = {
        name: {
            model: [train(model, toy, args.epochs or toy.epochs, seed) for seed in range(args.seeds)]
            for model in PUBLISHED
        }
        for name, toy in TOYS.items()
    }
    text = table(runs)
    print(text)
    args.folder.mkdir(parents=True, exist_ok=True)
    note = NOTE.format(seeds=args.seeds, points=TEST_POINTS, unit=1 / TEST_POINTS, table=text)
    (args.folder / "decision_surfaces.md").write_text(note)
    draw(runs, args.folder / "decision_surfaces.png")


if __name__ == "__main__":
    main()
