"""The errors that this package raises on purpose.

RNNBackendError
├── ArgumentError (ValueError)               a value that an argument cannot have
│   ├── ShapeError                           an array of the wrong shape
│   └── VocabularyError                      text that the model's vocabulary cannot spell
├── DTypeError (TypeError)                   an array of the wrong dtype
├── DeviceError (ValueError)                 a device that is absent, or an array on the wrong one
├── DeviceMemoryError (MemoryError)          a device without room for a result, or parameters
├── BackendMismatchError (TypeError)         arrays of a library other than the backend's
├── UnknownBackendError (ValueError)         no backend has this name
├── DuplicateBackendError (ValueError)       the name of a backend is taken
├── BackendNotInstalledError (ImportError)   the backend's library is not installed
├── BackendLoadError (ImportError)           a third party's backend failed to load
├── BackendUnavailableError (RuntimeError)   the library is installed but cannot run here
├── InvalidBackendError (TypeError)          the object that was registered is not a backend
├── FormatError (ValueError)                 a file or weights that cannot be read, or a model that cannot be written
│   └── FileMemoryError (MemoryError)        a file for which there is too little memory
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
    """Base of every error that this package raises on purpose.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> try:
    ...     rb.RNN.init(3, 0)
    ... except rb.RNNBackendError as error:
    ...     print(f"{type(error).__name__}: {error}")
    ArgumentError: `hidden_size` must be an integer of at least 1; got 0.
    """


class ArgumentError(RNNBackendError, ValueError):
    """A value that an argument cannot have.

    An option has an impossible value, options do not go together, an option is none of a format, a token id or a length
    of host data is out of range, or a method needs a readout and the model has none.
    """


class ShapeError(ArgumentError):
    """An array of the wrong shape.

    The message names the axes of the shape that is wanted, and gives the shape that came.
    """


class VocabularyError(ArgumentError):
    """Text that the model's vocabulary cannot spell.

    A character or a word is not in the vocabulary, and no item of it stands for unknown ones; or text is given to a
    model without a vocabulary.
    """


class DTypeError(RNNBackendError, TypeError):
    """An array of the wrong dtype.

    Weights are not floating point, lengths or targets are no integers, a mask is not of booleans, an argument is no
    array of numbers, or a backend lacks the dtype that is asked for.
    """


class DeviceError(RNNBackendError, ValueError):
    """A device that is absent, or an array on the wrong one.

    The backend has no device of that name; or an argument is on another device than the model, from which nothing is
    moved implicitly.
    """


class DeviceMemoryError(RNNBackendError, MemoryError):
    """A device without room for a result, or a memory without room for parameters.

    Raised by the kernels of the cupy backend, for which fewer sequences at once, or a stream of fewer steps, take less;
    and by `RNN.init`, of sizes whose parameters have no room.
    """


class BackendMismatchError(RNNBackendError, TypeError):
    """Arrays of a library other than the backend's.

    Nothing is converted implicitly but host data; the message names the call that converts the array.
    """


class UnknownBackendError(RNNBackendError, ValueError):
    """No backend has this name.

    The message lists the names that there are, asks after the one that is near, and says what asked for the backend: an
    argument, `use_backend`, or the environment variable RNN_BACKEND.
    """


class DuplicateBackendError(RNNBackendError, ValueError):
    """The name of a backend is taken.

    `register_backend` is given a name that there is already, or two installed packages offer backends of one name.
    """


class BackendNotInstalledError(RNNBackendError, ImportError):
    """The backend's library is not installed.

    Or it is, and fails to import; the message gives the command that installs it.
    """


class BackendLoadError(RNNBackendError, ImportError):
    """A third party's backend failed to load.

    The function that its entry point names raised an error, which is the cause of this one.
    """


class BackendUnavailableError(RNNBackendError, RuntimeError):
    """The backend's library is installed but cannot run here.

    There is no GPU or no driver for it, a kernel that the environment asks for is not here, or a kernel cannot be
    checked while a stream is being captured.
    """


class InvalidBackendError(RNNBackendError, TypeError):
    """The object that was registered is not a backend.

    The message of a record lists everything that is wrong with it.
    """


class FormatError(RNNBackendError, ValueError):
    """A file or another framework's weights that cannot be read, or a model that cannot be written.

    The file is damaged or of no known format, holds what a network here does not do, or lacks what an option must give;
    the message names the option to write.
    """


class FileMemoryError(FormatError, MemoryError):
    """A file for which there is too little memory.

    It is a sound one, or is not known to be damaged; on a machine with more memory it may be read.
    """


class WrongResultError(RNNBackendError, ArithmeticError):
    """Two programs that are compared have different results.

    Raised by the commands ``convert``, where a file that was written does not compute what the model does, and
    ``bench``, where a contestant is further from the float64 reference than rounding explains.
    """


class KernelWarning(RuntimeWarning):
    """A kernel failed its check on a device; another, or the equation as written, is used instead.

    Given once in a process for each such kernel of the cupy backend; results are right, only slower.
    """
