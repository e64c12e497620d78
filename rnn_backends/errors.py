"""The errors that this package raises on purpose.

RNNBackendError
├── ArgumentError (ValueError)               a value that an argument cannot have
│   ├── ShapeError                           an array of the wrong shape
│   └── VocabularyError                      text that the model's vocabulary cannot spell
├── DTypeError (TypeError)                   an array of the wrong dtype
├── DeviceError (ValueError)                 a device that is absent, or an array on the wrong one
├── DeviceMemoryError (MemoryError)          a device without room for a result
├── BackendMismatchError (TypeError)         arrays of a library other than the backend's
├── UnknownBackendError (ValueError)         no backend has this name
├── DuplicateBackendError (ValueError)       the name of a backend is taken
├── BackendNotInstalledError (ImportError)   the backend's library is not installed
├── BackendLoadError (ImportError)           a third party's backend failed to load
├── BackendUnavailableError (RuntimeError)   the library is installed but cannot run here
├── InvalidBackendError (TypeError)          the object that was registered is not a backend
├── FormatError (ValueError)                 a file or weights that cannot be read, or a model that cannot be written
└── WrongResultError (ArithmeticError)       two programs that are compared have different results

KernelWarning (RuntimeWarning) says that a kernel failed its check on a device, and is not used.

Each is of a built-in type too, so that code that knows nothing of this package catches it:

>>> import rnn_backends as rb
>>> try:
...     rb.get_backend("cuppy")
... except ValueError as error:
...     type(error).__name__
'UnknownBackendError'
"""


class RNNBackendError(Exception):
    """Base of every error that this package raises on purpose."""


class ArgumentError(RNNBackendError, ValueError):
    """A value that an argument cannot have."""


class ShapeError(ArgumentError):
    """An array of the wrong shape."""


class VocabularyError(ArgumentError):
    """Text that the model's vocabulary cannot spell."""


class DTypeError(RNNBackendError, TypeError):
    """An array of the wrong dtype."""


class DeviceError(RNNBackendError, ValueError):
    """A device that is absent, or an array on the wrong one."""


class DeviceMemoryError(RNNBackendError, MemoryError):
    """A device without room for a result."""


class BackendMismatchError(RNNBackendError, TypeError):
    """Arrays of a library other than the backend's."""


class UnknownBackendError(RNNBackendError, ValueError):
    """No backend has this name."""


class DuplicateBackendError(RNNBackendError, ValueError):
    """The name of a backend is taken."""


class BackendNotInstalledError(RNNBackendError, ImportError):
    """The backend's library is not installed."""


class BackendLoadError(RNNBackendError, ImportError):
    """A third party's backend failed to load."""


class BackendUnavailableError(RNNBackendError, RuntimeError):
    """The backend's library is installed but cannot run here."""


class InvalidBackendError(RNNBackendError, TypeError):
    """The object that was registered is not a backend."""


class FormatError(RNNBackendError, ValueError):
    """A file or another framework's weights that cannot be read, or a model that cannot be written."""


class WrongResultError(RNNBackendError, ArithmeticError):
    """Two programs that are compared have different results."""


class KernelWarning(RuntimeWarning):
    """A kernel failed its check on a device; another, or the equation as written, is used instead."""
