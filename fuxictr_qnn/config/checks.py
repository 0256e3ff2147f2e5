"""Rules that a type alone does not say: lists of names, grammars, and keys that belong together."""

from __future__ import annotations

from inspect import signature
from typing import Any

from fuxictr_qnn import grammar
from fuxictr_qnn.config.merging import Setting, Settings
from fuxictr_qnn.data.checks import config_problems
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import nearest, shown
from fuxictr_qnn.training.settings import FitSettings

LOSSES = {  # task -> losses
    "binary_classification": ("binary_crossentropy", "binary_cross_entropy", "bce"),
    "regression": ("mse_loss", "l1_loss", "huber_loss"),
}
ERRORS = ("MSE", "RMSE", "MAE")  # the metrics of a regression
LOWER_IS_BETTER = ("logloss", "binary_crossentropy", *ERRORS)
# torch's optimizers that need a closure, sparse gradients or weights that are all matrices
UNSUITED = ("Optimizer", "LBFGS", "SparseAdam", "Muon")


def apply_rule(rule: Any, place: str, value: Any, problems: list[str]) -> Any:
    """`rule(value)`; where the rule refuses it, the value itself and one more problem."""
    try:
        return rule(value)
    except ValueError as error:
        problems.append(f"{place} = {shown(value)}: {error}")
        return value


def check_columns(dataset: Settings, problems: list[str]) -> None:
    """Bring feature_cols and label_col to one entry a column, in place. FuxiCTR allows `name: [a, b]`."""
    if "feature_cols" in dataset:
        dataset["feature_cols"] = _one_entry_a_column(dataset["feature_cols"], problems)
    label = dataset.get("label_col")
    if label and isinstance(label.value, dict):
        dataset["label_col"] = Setting([label.value], label.origin)
    for key in ("feature_cols", "label_col"):
        if key in dataset and dataset[key].value is None:
            dataset[key] = Setting([], dataset[key].origin)


def _one_entry_a_column(setting: Setting, problems: list[str]) -> Setting:
    if not isinstance(setting.value, list):
        return setting
    columns: list[Any] = []
    for column in setting.value:
        if isinstance(column, dict) and isinstance(column.get("name"), list):
            columns += [column | {"name": name} for name in column["name"]]
        else:
            columns.append(column)
    return Setting(
        [_evaluated_strings(column, setting.origin, problems) for column in columns], setting.origin
    )


def _evaluated_strings(column: Any, origin: str, problems: list[str]) -> Any:
    """A column entry whose strings that FuxiCTR evaluates are in the fixed grammar."""
    if not isinstance(column, dict):
        return column
    rules = {key: grammar.rule_for(str(key)) for key in column}
    place = f"{origin}: {column.get('name')}"
    return column | {
        key: apply_rule(rule, f"{place}.{key}", column[key], problems) for key, rule in rules.items() if rule
    }


def check_feature_use(features: Settings, problems: list[str]) -> None:
    """The strings in feature_specs that FuxiCTR evaluates are in the fixed grammar, in place."""
    specs = features.get("feature_specs")
    if specs and isinstance(specs.value, list):
        checked = [_evaluated_strings(item, specs.origin, problems) for item in specs.value]
        features["feature_specs"] = Setting(checked, specs.origin)


def check_fit(fit: Settings, dataset: DatasetSpec | None, problems: list[str]) -> None:
    """Metric names, what is monitored, loss and optimizer; one label, and a group_id for group metrics.

    Metric names are written out in place.
    """
    metrics = _metrics(fit, problems)
    _check_monitor(fit, metrics, problems)
    if dataset is not None and len(dataset.label_col) > 1:
        named = ", ".join(label.name for label in dataset.label_col)
        problems.append(f"{dataset.source}: label_col names {named}: models here learn one label, choose one")
    grouped = [name for name in metrics if grammar.needs_groups(name)]
    if grouped and dataset is not None and dataset.group_id is None:
        problems.append(
            f"{dataset.source}: {', '.join(grouped)} need group_id, the column that names the groups"
        )
    if dataset is not None and dataset.negative_sampling_rate and _value(fit, "task").value == "regression":
        problems.append(
            f"{dataset.source}: negative_sampling_rate corrects probabilities, but a regression has none: "
            "remove it"
        )
    _check_optimizer(fit, problems)
    _check_task(fit, metrics, problems)


def check_dataset(dataset: DatasetSpec, problems: list[str]) -> None:
    """Whatever keeps a dataset from being built or opened, as far as its config alone tells.

    Training needs train_data and valid_data, or a valid_size to cut from train_data.
    """
    missing = [f"{split}_data" for split in ("train", "valid") if split not in dataset.split_names]
    if missing:
        cut = "; valid_size cuts it from train_data" if missing == ["valid_data"] else ""
        problems.append(
            f"{dataset.source}, {dataset.dataset_id}: {' and '.join(missing)} must be set: one part of the "
            f"data is trained on, the other decides when to stop{cut}"
        )
    problems += [f"{dataset.source}, {dataset.dataset_id}: {problem}" for problem in config_problems(dataset)]


def _value(fit: Settings, key: str) -> Setting:
    """A setting of the fit loop, or its default."""
    return fit.get(key, Setting(FitSettings.model_fields[key].default, "default"))


def _check_task(fit: Settings, metrics: list[str], problems: list[str]) -> None:
    """A loss that FuxiCTR need not evaluate, and loss and metrics that go with the task."""
    task, loss = _value(fit, "task"), _value(fit, "loss")
    if not isinstance(loss.value, str) or not isinstance(task.value, str) or task.value not in LOSSES:
        return  # reported with the other types
    fitting, every = LOSSES[task.value], [name for names in LOSSES.values() for name in names]
    if loss.value not in every:
        problems.append(
            f"{loss.origin}: loss = {shown(loss.value)}: expected {', '.join(fitting)}."
            f"{nearest(loss.value, every)}"
        )
    elif loss.value not in fitting:
        origin = (loss if "loss" in fit else task).origin
        problems.append(
            f"{origin}: loss = {loss.value} is none for task = {task.value}: set loss to {', '.join(fitting)}"
        )
    other = [name for name in metrics if name in grammar.METRICS and name not in ERRORS]
    if task.value == "regression" and other:
        problems.append(
            f"{task.origin}: metrics = {metrics}: task = regression needs metrics and monitor of "
            f"{', '.join(ERRORS)} or package.module:function; {', '.join(other)} need labels 0 and 1"
        )


def _check_optimizer(fit: Settings, problems: list[str]) -> None:
    """One of torch.optim by name, and options that it has; FuxiCTR also writes adam for Adam."""
    optimizer, options = _value(fit, "optimizer"), fit.get("optimizer_params")
    if not isinstance(optimizer.value, str) or (optimizer.value.lower() == "adam" and options is None):
        return
    from torch import optim

    name = "Adam" if optimizer.value.lower() == "adam" else optimizer.value
    known = [name for name, value in vars(optim).items() if isinstance(value, type) and name not in UNSUITED]
    if name not in known:
        problems.append(
            f"{optimizer.origin}: optimizer = {shown(optimizer.value)}: expected one of torch.optim's "
            f"{', '.join(known)}.{nearest(optimizer.value, known)}"
        )
    elif options is not None and isinstance(options.value, dict):
        accepted = [key for key in signature(getattr(optim, name)).parameters if key not in ("params", "lr")]
        problems += [
            f"{options.origin}: optimizer_params: {name} has no option {key}.{nearest(str(key), accepted)}"
            for key in options.value
            if key not in accepted
        ]


def _check_monitor(fit: Settings, metrics: list[str], problems: list[str]) -> None:
    """The monitored names, written as the metrics are (NDCG(5) -> NDCG(k=5)), are among them."""
    monitor = _value(fit, "monitor")
    if not metrics or not isinstance(monitor.value, (str, dict)):
        return  # the wrong type is reported with the other types
    weights = monitor.value if isinstance(monitor.value, dict) else {monitor.value: 1.0}
    written = {_written_out(name): weight for name, weight in weights.items()}
    if not written:
        problems.append(f"{monitor.origin}: monitor = {{}}: expected a metric, or metrics with weights")
        return
    absent = [name for name in written if name not in metrics]
    problems += [
        f"{monitor.origin}: monitor = {shown(monitor.value)}: '{name}' is not among the metrics "
        f"{metrics}.{nearest(name, metrics)}"
        for name in absent
    ]
    if "monitor" in fit:
        value = written if isinstance(monitor.value, dict) else next(iter(written))
        fit["monitor"] = Setting(value, monitor.origin)
    if not absent:
        _check_direction(fit, problems)


def _check_direction(fit: Settings, problems: list[str]) -> None:
    """The best value of a metric on its own is its highest or its lowest; the other one is a mistake.

    In a mapping the signs of the weights say it.
    """
    monitor, mode = _value(fit, "monitor"), _value(fit, "monitor_mode")
    if not isinstance(monitor.value, str) or grammar.is_dotted_path(monitor.value):
        return
    right, best = ("min", "lower") if monitor.value in LOWER_IS_BETTER else ("max", "higher")
    if mode.value in ("max", "min") and mode.value != right:
        origin = (mode if "monitor_mode" in fit else monitor).origin
        problems.append(
            f"{origin}: monitor = {monitor.value} with monitor_mode = {mode.value} would keep the worst "
            f"weights: a {best} {monitor.value} is better, so set monitor_mode: {right}"
        )


def _written_out(name: Any) -> Any:
    try:
        return grammar.metric(name) if isinstance(name, str) else name
    except ValueError:
        return name


def _metrics(fit: Settings, problems: list[str]) -> list[str]:
    """The metric names in their written-out form; `metrics` may also be a single name."""
    setting = fit.get("metrics")
    if setting is None:
        return list(FitSettings.model_fields["metrics"].default)
    names = [setting.value] if isinstance(setting.value, str) else setting.value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    checked = [apply_rule(grammar.metric, f"{setting.origin}: metrics", name, problems) for name in names]
    if not checked:
        problems.append(f"{setting.origin}: metrics: expected at least one name")
    fit["metrics"] = Setting(checked, setting.origin)
    return checked
