"""Classes of torch's modules, by their names: torch is not imported."""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

GATED = ("LSTM", "LSTMCell", "GRU", "GRUCell")
RECURRENT = ("RNN", "RNNCell")
INERT = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "Identity")
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
OUTPUTS = ("Softmax", "LogSoftmax", "Sigmoid")
"""Activations that are applied to outputs: one that is declared after the last Linear is taken for its activation."""
MODES = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}
_WRAPPERS = (
    ("torch.optim.swa_utils", "AveragedModel"),
    ("torch.nn.parallel.data_parallel", "DataParallel"),
    ("torch.nn.parallel.distributed", "DistributedDataParallel"),
    ("torch._dynamo.eval_frame", "OptimizedModule"),
)
_HOOKS = ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm", "torch.nn.utils.prune")
_HARMLESS = (
    "__init__", "__init_subclass__", "__class_getitem__", "__repr__", "__dir__", "__getstate__", "__setstate__",
    "__deepcopy__", "__setattr__", "extra_repr", "reset_parameters", "from_pretrained", "train", "eval",
)  # fmt: skip
"""Methods that may be replaced in a subclass without a change to what it computes."""

ACTIVATIONS: Mapping[str, Callable[[Any], Activation | None]] = {
    "Softmax": lambda _: Activation("softmax"),
    "LogSoftmax": lambda _: Activation("log_softmax"),
    "Sigmoid": lambda _: Activation("sigmoid"),
    "Tanh": lambda _: Activation("tanh"),
    "ReLU": lambda _: Activation("relu"),
    "LeakyReLU": lambda m: Activation("leaky_relu", alpha=m.negative_slope),
    "ELU": lambda m: Activation("elu", alpha=m.alpha),
    "Softsign": lambda _: Activation("softsign"),
    # torch's is the identity above the threshold: to 2e-9 at 20, the default, and less beyond.
    "Softplus": lambda m: Activation("softplus") if m.beta == 1 and m.threshold >= 20 else None,
    "Hardsigmoid": lambda _: Activation("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "Threshold": lambda m: Activation("thresholded_relu", alpha=m.threshold) if m.value == 0 else None,
    **dict.fromkeys(
        ("Hardtanh", "ReLU6"),
        lambda m: Activation("clipped_relu", alpha=m.max_val) if m.min_val == 0 < m.max_val < inf else None,
    ),
    **dict.fromkeys(
        ("CELU", "GELU", "Hardshrink", "Hardswish", "LogSigmoid", "Mish", "SELU", "SiLU", "Softshrink", "Tanhshrink"),
        lambda _: None,
    ),
}  # fmt: skip
"""The activation that a module of a class applies; None where there is none of its kind here."""


def base(module: Any) -> type:
    """Return the class of torch that a module is, or is made from; of a module of another kind, its own class."""
    classes = type(module).__mro__
    return next((each for each in classes if each.__module__.startswith("torch.nn.modules.")), classes[0])


def is_of_torch(module: Any) -> bool:
    """Return whether a module is of a class of torch's that computes, or is made from one."""
    root = base(module)
    return root.__module__.startswith("torch.nn.modules.") and root.__name__ != "Module"


def qualified(module: Any) -> str:
    """Return the name of the class of a module, for messages."""
    owner = type(module)
    return bare(f"{owner.__module__}.{owner.__qualname__}")


def bare(name: str) -> str:
    """Return the name of a class as a message shows it, without quotation marks."""
    return shown(name).strip("'\"")


def is_wrapper(module: Any) -> bool:
    """Return whether a module calls the one in it and no more."""
    return (type(module).__module__, type(module).__name__) in _WRAPPERS


def is_scripted(module: Any) -> bool:
    """Return whether a module is a program of TorchScript."""
    return any(each.__name__ == "ScriptModule" and "torch.jit" in each.__module__ for each in type(module).__mro__)


def computes_nothing(module: Any) -> bool:
    """Return whether a module takes no part in what a network gives: a loss, a metric."""
    classes = type(module).__mro__
    return any(
        each.__module__ == "torch.nn.modules.loss" or each.__module__.partition(".")[0] == "torchmetrics"
        for each in classes
    )


def is_changed(module: Any) -> bool:
    """Return whether a subclass, or the module itself, replaces what torch's class computes."""
    root = base(module)
    classes = type(module).__mro__
    names = set(vars(module))
    for each in classes[: classes.index(root)]:
        if each.__module__ != "torch.nn.utils.parametrize":
            names |= vars(each).keys()
    return any(callable(getattr(root, name, None)) for name in names - {*_HARMLESS})


def require_no_hooks(path: str, module: Any) -> None:
    """Check that no code of the user's runs before or after a module."""
    for kind in ("_forward_pre_hooks", "_forward_hooks"):
        for hook in vars(module).get(kind, {}).values():
            if not any(each.__module__ in _HOOKS for each in type(hook).__mro__):
                where = shown(path) if path else "the module"
                msg = f"{where} has a forward hook, which may change what it computes; {way('module_hook')}."
                raise FormatError(msg)
