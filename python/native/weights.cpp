// Weight files for the Python module: which tensors there are, where their bytes lie, and bytes as numbers.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "format/weight_file.h"
#include "native.h"
#include "quant/quant_type.h"

namespace moxie::python {
namespace {

// GGUF spells types in capitals, safetensors in a way of its own.
const QuantType* type_of(const std::string& dtype) {
  std::string name = dtype;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return find_quant_type(name);
}

// The values of `bytes` stored as `dtype`, as float.
py::array decode(const std::string& dtype, std::string_view bytes, int64_t count) {
  const QuantType* type = type_of(dtype);
  if (type == nullptr || type->decode == nullptr) {
    throw Failure{{ErrorCode::unsupported, "numbers stored as " + dtype + " cannot be turned into floats here"}};
  }
  if (count < 0 || count % type->block_values != 0 ||
      bytes.size() != static_cast<size_t>(count / type->block_values) * static_cast<size_t>(type->block_bytes)) {
    throw py::value_error(std::to_string(bytes.size()) + " bytes are not " + std::to_string(count) + " values of " +
                          dtype);
  }
  py::array_t<float> out(static_cast<py::ssize_t>(count));
  float* to = out.mutable_data();
  {
    py::gil_scoped_release release;
    type->decode(reinterpret_cast<const std::byte*>(bytes.data()), to, count / type->block_values);
  }
  return out;
}

py::dict read_weights(const std::string& path) {
  const WeightFiles files = [&] {
    py::gil_scoped_release release;
    return taken(open_weights(path));
  }();
  py::list tensors, parts;
  for (const WeightPart& part : files.files) parts.append(part.path);
  for (const TensorInfo& tensor : files.tensors) {
    py::dict one;
    one["name"] = tensor.name;
    one["dtype"] = tensor.dtype;
    one["shape"] = tensor.shape;
    one["file"] = tensor.file;
    one["offset"] = tensor.offset;
    one["bytes"] = tensor.bytes;
    one["apart"] = tensor.parted != nullptr;
    tensors.append(one);
  }
  py::dict out;
  out["format"] = files.format;
  out["gguf"] = files.scheme == NameScheme::gguf;
  out["config"] = files.config;
  out["files"] = parts;
  out["tensors"] = tensors;
  py::dict metadata;
  for (const auto& [key, value] : files.metadata.all()) {
    const py::str name(key);
    if (const auto* text = std::get_if<std::string>(&value)) metadata[name] = py::str(*text);
    if (const auto* whole = std::get_if<int64_t>(&value)) metadata[name] = *whole;
    if (const auto* whole = std::get_if<uint64_t>(&value)) metadata[name] = *whole;
    if (const auto* real = std::get_if<double>(&value)) metadata[name] = *real;
    if (const auto* truth = std::get_if<bool>(&value)) metadata[name] = *truth;
  }
  out["metadata"] = metadata;
  return out;
}

}  // namespace

void bind_weights(py::module_& module) {
  module.def("read_weights", &read_weights);
  module.def("decode", &decode);
}

}  // namespace moxie::python
