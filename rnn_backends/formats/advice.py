"""Ways out of a refusal, one text an id; a test follows each of them to a network with the right numbers."""

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

WAYS: Mapping[str, str] = {
    "activation": "pass the right one, e.g. activation='tanh', and batch_first where the batch is the first axis",
    "recorded": "pass activation={activation}",
    "leak": "pass leak=0.1, or what it was trained with",
    "leave_out": "leave `{option}` out",
    "encoder_activation": "pass encoder_activation={example}, or what it was trained with",
    "readout_activation": (
        "pass readout_activation={example} if it was trained with a cross-entropy, 'identity' in place of {last} if it "
        "gives values"
    ),
    "roles": "pass roles={roles}, if they are applied so and in this order, or other ones",
    "side_by_side": (
        "pass roles={roles} to read one of them, if they stand side by side, or a readout_activation with one for each "
        "of them, if one after the other"
    ),
    "roles_each": "pass roles= with what each is, and 'ignore' for what the forward pass does without",
    "roles_of_layers": (
        "pass roles={roles}, if they are applied so and in this order: 'layers' for those that stand one on the other, "
        "'ignore' for the others"
    ),
    "initial": "pass names={names} if it is the initial state, or roles={roles} if the network does without it",
    "ignore": "if the network does without it, pass roles={roles}",
    "names": "pass names={names}",
    "names_of_rows": "pass names={names} if they are rows, x @ W, and the same without .T if columns, W @ x",
    "own_names": (
        "pass names= with the name of each, 'weight_ih_l0', 'weight_hh_l0', 'bias_l0', 'readout.weight' or "
        "'readout.bias', with .T after it where vectors are rows"
    ),
    "columns": (
        "if {name} is applied to cat((x, h)), give rnn_backends.from_torch its columns apart, weight_ih_l0 = "
        "w[:, :{size}] and weight_hh_l0 = w[:, {size}:], and its bias as bias_l0"
    ),
    "pure_dict": "of an nnx model pass nnx.to_pure_dict(nnx.state(model))",
    "flax_collection": "pass key={key}, if the network does without it",
    "plain_dtype": "convert it to float32 first (of a quantized tensor, dequantize() gives that)",
    "layers": (
        "pass layers={layers}, the paths from the input to the output, with a pair (forward, backward) for a layer of "
        "both directions"
    ),
    "layers_in_order": "pass layers= with the paths of its cells from the input to the output",
    "every_cell": "name every cell, or, if the network does without them, pass roles={roles}",
    "residual": "pass residual=False, or True if it was made so",
    "load": "read it by rnn_backends.load",
    "install": "install it: pip install 'rnn-backends[{extra}]'",
    "again": "load it again",
    "file_in": "name a file in it",
    "orbax": "restore it with Orbax, and give the tree to rnn_backends.from_flax",
    "saved_model": "save the model as .keras, or its weights as .weights.h5, and read that",
    "copied": "copy what it gives to a file, and read that",
    "values": "load its weights first",
    "keep_one": "keep one of them",
    "name_both": "with `names`, name both",
    "weights_alone": "save the weights of the network alone",
    "not_packed": "write it without compression, by numpy.savez",
    "pickle": (
        "if you trust it, load it with pickle, and give what it holds to rnn_backends.from_torch, or a tree of Flax's "
        "to rnn_backends.from_flax"
    ),
    "key": "pass key={key}, or that of another",
    "key_of_one": "pass key= with the names on the way to one of them, a tuple of texts",
    "batch_norm_eps": (
        "pass batch_norm_eps=1e-05, or what it was made with, if it is applied right after the module before it, "
        "or give the module itself"
    ),
    "batch_norm": "give rnn_backends.from_torch a dict of the arrays in the order of the modules, which shows it",
    # torch: weights that are computed of others, and modules
    "effective_parametrization": (
        "call torch.nn.utils.parametrize.remove_parametrizations before it is saved, or give the module itself to "
        "rnn_backends.from_torch"
    ),
    "torch_load": "if you trust the file, load it with torch.load, and give that to rnn_backends.from_torch",
    "plain_tensor": "save it as a dense tensor of float32 with values: tensor.to('cpu').to_dense().float()",
    "torch_again": "load it with torch, and save its state dict again with torch.save(state_dict, path)",
    "torch_script": "save its weights with torch.save(torch.jit.load(path).state_dict(), other_path), and read that",
    # Keras
    "go_backwards": "pass go_backwards=False, or True if it was made so",
    "keras_backwards": "pass go_backwards=True, and turn what it gives round: rnn(x)[0][:, ::-1]",
    "keras_build": "build the model first: call it once",
    "keras_masking": "pass masking=True, and mask={mask} at each call",
    "keras_mask_zero": "pass masking=False if it has not, or masking=True if it has, and then mask={mask} at each call",
    "keras_sequential": "pass its layers in a row, rb.from_keras(keras.Sequential([model.rnn, model.dense]))",
    "hdf5_plain": "write it again with h5py as docs/coming_from.md shows (HDF5 that Keras does not write)",
    "keras_file": "read the file of the whole model, .keras or .h5, as model.save writes it",
    "keras_order": (
        "pass readout_activation='softmax', or what they were made with, if its Dense come after the RNN, "
        "encoder_activation if before, of several a tuple with one for each"
    ),
    "keras_stateful": (
        "read its weights alone, model.weights.h5 in a .keras file, which is a zip, or what model.save_weights writes, "
        "and give each call the states of the one before: rnn(x, h_n)"
    ),
    "keras_version": "pass {option}={second} for Keras 2, {third} for Keras 3",
    # torch: modules
    "module_state": "pass roles={roles}, and h_0= at each call if that is what it is",
    "module_activation": (
        "pass roles={roles}, and readout_activation={example} with the one of each Linear; if it is applied to what "
        "the RNN gives, roles={before} instead"
    ),
    "module_function": "pass {role}_activation={example} with a function of arrays in its place",
    "module_norm": (
        "pass roles={roles} if it is applied to what the module declared before it gives, before an activation"
    ),
    "module_reads": "pass reads='last' if it takes output[:, -1], else 'final', 'mean', 'max' or 'steps'",
    "module_many_to_one": "pass reads='last', or 'final', 'mean', 'max', if each sequence has one output",
    "module_softmax": "pass {role}_activation={example} if it is over the features all the same",
    "module_eval": "call its eval() first",
    "module_hook": "call remove() of its handle first",
    "module_lazy": "run it once on a batch first",
    "module_scripted": "pass its state_dict(), with activation='tanh' or what it is",
    # ONNX
    "onnx_torch": "export with torch.onnx.export(..., dynamo=False)",
    "onnx_state_dict": "load the module's state dict, which torch.save(module.state_dict(), path) writes",
    "onnx_keras": "load the .keras or .h5 file that it was made of",
    "onnx_external": "pass external_data=True, which lets it read those beside it",
    "onnx_one_file": "write it with onnx.save(onnx.load(path), new_path, save_as_external_data=True)",
    "onnx_checksum": "save the model without its checksum",
    "onnx_two_steps": "export an input of two steps or more, as one does not hold the recurrent weights",
    "onnx_hx": "name the state 'hx', and the other 'x', when you export it",
    "onnx_dtype": "export it in one dtype",
    "onnx_reads": "pass reads='steps' for the logits of all steps, of which the graph's are those of the {place}",
    "onnx_reads_one": "pass reads={reads}, or what another reads",
    "onnx_eval": "export it after .eval()",
    "onnx_sizes": "export with fixed sizes",
    "onnx_version": "export it with one of these",
    "onnx_without": "save it without them",
    "onnx_inline": "inline them with onnx.inliner.inline_local_functions(model)",
    "onnx_dense": "save it with ordinary ones",
    "onnx_as_many": "give exactly as many as take one",
    "onnx_large": "keep its weights in an external data file",
    # What is written
    "save_as": "save the model as .safetensors or .npz",
    "pickled": "pickle the model instead",
    "torch_save": "for torch, make tensors of rnn.to_torch() by torch.from_numpy, and write them with torch.save",
    "other_name": "choose another name",
    "other_folder": "choose another folder",
    "reservoirpy_run": "run it on a step of the data first",
    "reservoirpy_fit": "fit the model first",
    "reservoirpy_function": (
        "set it to the one that it equals, or make an rnn_backends.Cell of the weights and the function"
    ),
}
"""The texts by id; what stands in braces is given by the caller.  Options in them are valid Python: name=value."""


LONGEST = 150
"""The most characters of the mappings in a way out."""
_ALONE = 250
"""The most characters of its first item, without which there would be no way."""
TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_INSIDE = [rf"\{begin}(?:{TEXT}|[^\{begin}\{end}'\"])*\{end}" for begin, end in ("{}", "()", "[]")]
VALUE = "|".join([*_INSIDE, TEXT, "True", "False", "[0-9.]+(?:e-[0-9]+)?"])


def way(key: str, /, **parts: object) -> str:
    """Return a way out, as the end of a sentence; of a mapping in it the first items, if it is long."""
    most = LONGEST // max(1, sum(isinstance(part, Mapping) for part in parts.values()))
    return WAYS[key].format(**{name: _short(part, most) for name, part in parts.items()})


def _short(part: object, most: int) -> object:
    if not isinstance(part, Mapping):
        return part
    found: dict[object, object] = {}
    size = 0
    for key, value in part.items():
        size += len(str({key: value}))  # with its braces, as the others have a comma and a space
        if size > (most if found else _ALONE):
            break
        found[key] = value
    return found


def is_advised(message: str) -> bool:
    """Return whether a message has a way out."""
    return any(pattern.search(message) for pattern in _patterns())


def proposed(message: str) -> dict[str, Any]:
    """Return the options that the ways out in a message say to pass, the first value of each."""
    ways = [match.span() for pattern in _patterns() for match in pattern.finditer(message)]
    found: dict[str, Any] = {}
    for match in _options().finditer(message):
        is_way = match[1] is not None and any(start <= match.start() < end for start, end in ways)
        if is_way and match[1] not in found:
            with suppress(ValueError, SyntaxError):
                found[match[1]] = ast.literal_eval(match[2])
    return found


@cache
def _options() -> re.Pattern[str]:
    """Return what finds options; names that a file has stand in quotation marks, in which nothing is looked for."""
    return re.compile(rf"\b([a-z_]+)=({VALUE})|(?<!\w)(?:{TEXT})")


@cache
def _patterns() -> list[re.Pattern[str]]:
    """Return what finds each way out in a message."""
    return [re.compile(".+?".join(map(re.escape, re.split(r"\{[a-z_]+\}", text)))) for text in WAYS.values()]
