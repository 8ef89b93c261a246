// bitsandbytes. 4 bits (nf4, fp4): ".weight" of bytes, flat, beside ".weight.absmax", ".weight.quant_map" and
// ".weight.quant_state.bitsandbytes__nf4", which holds JSON: shape, block size, and what nested maxima need. 8 bits:
// ".weight" of I8 beside ".SCB", the largest magnitude of every row.
#include <fmt/ranges.h>

#include <algorithm>

#include "core/fail.h"
#include "format/config.h"
#include "format/messages.h"
#include "format/quantized_scheme.h"

namespace moxie::quantized {
namespace {

constexpr std::string_view kMaxima = ".weight.absmax", kRowMaxima = ".SCB";
constexpr std::string_view kStates[] = {".weight.quant_state.bitsandbytes__nf4",
                                        ".weight.quant_state.bitsandbytes__fp4"};
constexpr int64_t kSizeMax = int64_t{1} << 32;

bool recognises(const WeightFiles& files) {
  return std::any_of(files.tensors.begin(), files.tensors.end(), [](const TensorInfo& tensor) {
    return tensor.name.ends_with(kMaxima) || tensor.name.ends_with(kRowMaxima);
  });
}

struct State {
  std::string type;
  int64_t rows = 0, columns = 0, block = 0;
  int64_t nested_block = 0;
  float nested_offset = 0;
};

Result<State> read_state(const QuantizedTensors& tensors, const TensorInfo& tensor) {
  MOXIE_TRY(const std::vector<std::byte> bytes, tensors.read(tensor));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  MOXIE_TRY(const Metadata json,
            parse_config(text, fmt::format("{}: {}", tensors.files().path, printable(tensor.name))));
  State state{.type = json.text("quant_type").value_or(""),
              .block = json.integer("blocksize").value_or(0),
              .nested_block = json.integer("nested_blocksize").value_or(0),
              .nested_offset = static_cast<float>(json.number("nested_offset").value_or(0))};
  const auto shape = json.integers("shape").value_or(std::vector<int64_t>{});
  if (shape.size() == 2) {
    state.rows = shape[0];
    state.columns = shape[1];
  }
  const bool sound = state.rows >= 1 && state.rows <= kSizeMax && state.columns >= 1 && state.columns <= kSizeMax &&
                     state.block >= 1 && state.block <= kSizeMax && state.nested_block >= 0 &&
                     state.nested_block <= kSizeMax;
  if (!sound) return tensors.wrong(tensor, "says no sound shape and blocksize");
  // So that a row holds whole bytes.
  if (state.columns % 2 != 0) return tensors.wrong(tensor, "says that a row has an odd number of values");
  return state;
}

Result<void> join_codes(QuantizedTensors& tensors, std::string_view module, const TensorInfo& maxima) {
  const TensorInfo* state_text = nullptr;
  for (const std::string_view name : kStates) {
    if (state_text == nullptr) state_text = tensors.beside(module, name);
  }
  if (state_text == nullptr) {
    MOXIE_TRY(state_text, tensors.need(module, kStates[0], {"U8"}, 1));
  }
  MOXIE_TRY(const State state, read_state(tensors, *state_text));
  const TensorInfo* codes = tensors.beside(module, ".weight");
  if (codes == nullptr) return tensors.need(module, ".weight", {"U8"}, 2).error();
  MOXIE_TRY(const TensorInfo* map, tensors.need(module, ".weight.quant_map", {"F32"}, 1));
  if (map->shape[0] != 16) return tensors.wrong(*map, "should have 16 values");
  // Both sizes are at most 2^32: neither product nor sum can overflow once the rows are known to fit.
  if (state.rows > INT64_MAX / 2 / state.columns) return tensors.wrong(*state_text, "says an impossible shape");
  const int64_t values = state.rows * state.columns, blocks = (values - 1) / state.block + 1;
  if (codes->bytes != static_cast<uint64_t>(values / 2))
    return tensors.wrong(*codes,
                         fmt::format("should have {} bytes for [{}, {}]", values / 2, state.rows, state.columns));
  PartedLayout layout = {.group = state.block, .bits = 4, .scales = ScaleFormat::f32};
  if (maxima.shape != std::vector<int64_t>{blocks})
    return tensors.wrong(maxima, fmt::format("should have {} values, one for every {} weights", blocks, state.block));
  tensors.drop(*state_text);
  tensors.notice_once(
      "bitsandbytes 4-bit weights have no kernel of their own: they are decoded as they are used, which is slower");
  const std::string dtype = fmt::format("bitsandbytes {}", printable(state.type));
  const std::vector<int64_t> shape = {state.rows, state.columns};
  if (maxima.dtype == "F32") {
    return tensors.join(module, "bnb4", dtype, shape, layout, {{codes, false}, {&maxima, false}, {map, false}});
  }
  if (maxima.dtype != "U8") return tensors.wrong(maxima, "should be of F32, or of U8 where it is nested");
  MOXIE_TRY(const TensorInfo* nested, tensors.need(module, ".weight.nested_absmax", {"F32"}, 1));
  MOXIE_TRY(const TensorInfo* nested_map, tensors.need(module, ".weight.nested_quant_map", {"F32"}, 1));
  if (nested_map->shape[0] != 256) return tensors.wrong(*nested_map, "should have 256 values");
  if (state.nested_block < 1 || nested->shape[0] != (blocks - 1) / state.nested_block + 1)
    return tensors.wrong(*nested, fmt::format("should have one value for every {} of {}", state.nested_block, blocks));
  layout.scales = ScaleFormat::u8;
  layout.group_rows = state.nested_block;
  layout.constant = state.nested_offset;
  return tensors.join(module, "bnb4", dtype, shape, layout,
                      {{codes, false}, {&maxima, false}, {map, false}, {nested, false}, {nested_map, false}});
}

Result<void> join_bytes(QuantizedTensors& tensors, std::string_view module, const TensorInfo& maxima) {
  MOXIE_TRY(const TensorInfo* numbers, tensors.need(module, ".weight", {"I8"}, 2));
  if (const TensorInfo* form = tensors.beside(module, ".weight_format"); form != nullptr) {
    MOXIE_TRY(const std::vector<std::byte> code, tensors.read(*form));
    if (code.empty() || code[0] != std::byte{0}) {
      return fail(Diagnosis{.code = "quantized-otherwise",
                            .found = fmt::format("{} laid out for a GPU", printable(numbers->name)),
                            .expected = "rows as they are (weight_format 0)"},
                  ErrorCode::unsupported,
                  "{}: '{}' is laid out for a GPU (weight_format {}); moxie reads rows as they are (0): save the model "
                  "again with a newer bitsandbytes, or get a GGUF file of it",
                  tensors.files().path, printable(numbers->name), code.empty() ? -1 : static_cast<int>(code[0]));
    }
    tensors.drop(*form);
  }
  if (maxima.dtype != "F32" || maxima.elements() != numbers->shape[0])
    return tensors.wrong(maxima, fmt::format("should have {} values of F32", numbers->shape[0]));
  const int64_t columns = numbers->shape[1];
  if (columns % 32 != 0) return tensors.wrong(*numbers, "has rows that are no multiple of 32 values");
  return tensors.join(module, "bnb8", "bitsandbytes int8", numbers->shape, {.group = columns, .bits = 8},
                      {{numbers}, {&maxima}});
}

Result<void> join(QuantizedTensors& tensors) {
  for (const TensorInfo& tensor : tensors.files().tensors) {
    if (const auto module = before_ending(tensor.name, kMaxima)) {
      MOXIE_TRY_VOID(join_codes(tensors, *module, tensor));
    } else if (const auto row_module = before_ending(tensor.name, kRowMaxima)) {
      MOXIE_TRY_VOID(join_bytes(tensors, *row_module, tensor));
    }
  }
  return {};
}

}  // namespace

extern constinit const QuantizedScheme bitsandbytes = {.name = "bitsandbytes", .recognises = recognises, .join = join};

}  // namespace moxie::quantized
