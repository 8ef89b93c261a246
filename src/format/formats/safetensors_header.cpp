#include "format/formats/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "core/fail.h"
#include "core/json.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderBytesMin = 2;
constexpr uint64_t kHeaderBytesMax = 100'000'000;
constexpr size_t kNameBytesMax = 65535;
constexpr size_t kRankMax = 16;

struct Dtype {
  std::string_view name;
  uint64_t bits;
  std::string_view type;  // of a weight type; empty: none
};

constexpr std::array kDtypes = std::to_array<Dtype>({
    {"F32", 32, "f32"}, {"F16", 16, "f16"}, {"BF16", 16, "bf16"},   {"F64", 64, ""},        {"BOOL", 8, ""},
    {"U8", 8, ""},      {"I8", 8, ""},      {"U16", 16, ""},        {"I16", 16, ""},        {"U32", 32, ""},
    {"I32", 32, ""},    {"U64", 64, ""},    {"I64", 64, ""},        {"C64", 64, ""},        {"F8_E4M3", 8, ""},
    {"F8_E5M2", 8, ""}, {"F8_E8M0", 8, ""}, {"F8_E4M3FNUZ", 8, ""}, {"F8_E5M2FNUZ", 8, ""}, {"F4", 4, ""},
    {"F6_E2M3", 6, ""}, {"F6_E3M2", 6, ""},
});

const Dtype* find_dtype(std::string_view name) {
  const auto found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& dtype) { return dtype.name == name; });
  return found == kDtypes.end() ? nullptr : found;
}

// A whole number from 0 to 2^63 - 1.
std::optional<uint64_t> natural(const Json* json) {
  const int64_t* value = json == nullptr ? nullptr : json->get_if<int64_t>();
  if (value == nullptr || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value);
}

class HeaderReader {
 public:
  explicit HeaderReader(const ByteSource& source) : source_(source) {}

  Result<SafetensorsHeader> read() {
    MOXIE_TRY(const Json json, read_json());
    if (json.object() == nullptr)
      return fail(ErrorCode::corrupt, "{}: its header is no JSON object: the file is damaged, download it again",
                  path());
    for (const JsonMember& member : *json.object()) {
      if (member.key == "__metadata__") {
        MOXIE_TRY_VOID(read_metadata(member.value));
      } else {
        MOXIE_TRY_VOID(read_tensor(member.key, member.value));
      }
    }
    MOXIE_TRY_VOID(check_cover());
    return std::move(header_);
  }

 private:
  const std::string& path() const { return source_.path(); }
  Result<Json> read_json();
  Result<void> read_metadata(const Json& json);
  Result<void> read_tensor(const std::string& name, const Json& json);
  Result<void> check_size(const TensorInfo& tensor, const Dtype& dtype) const;
  Result<void> check_cover();

  const ByteSource& source_;
  uint64_t data_start_ = 0;
  SafetensorsHeader header_;
};

Result<Json> HeaderReader::read_json() {
  ByteReader in(source_);
  MOXIE_TRY(const uint64_t length, in.read<uint64_t>());
  if (length < kHeaderBytesMin || length > kHeaderBytesMax) {
    return fail(
        ErrorCode::corrupt,
        "{}: its header claims {} bytes, allowed are {} to {}: no safetensors file, or damaged; download it again",
        path(), length, kHeaderBytesMin, kHeaderBytesMax);
  }
  data_start_ = kLengthBytes + length;
  if (length > in.remaining()) return truncated_error(path(), data_start_, source_.bytes());
  MOXIE_TRY(const std::string text, in.read_string(length));
  if (text.front() != '{')
    return fail(ErrorCode::corrupt, "{}: its header does not begin with \"{{\": the file is damaged, download it again",
                path());
  const JsonLimits limits{.bytes_max = kHeaderBytesMax, .depth_max = 8, .distinct_keys = true};
  auto json = parse_json(text, path() + ": header", limits);
  if (!json.ok()) return add_remedy(std::move(json).error(), "the file is damaged: download it again");
  return json;
}

Result<void> HeaderReader::read_metadata(const Json& json) {
  if (json.object() == nullptr)
    return fail(ErrorCode::corrupt, "{}: __metadata__ is no JSON object: the file is damaged, download it again",
                path());
  for (const JsonMember& member : *json.object()) {
    if (member.value.text() == nullptr) {
      return fail(ErrorCode::corrupt, "{}: __metadata__ \"{}\" is no string: the file is damaged, download it again",
                  path(), printable(member.key));
    }
    header_.metadata[member.key] = *member.value.text();
  }
  return {};
}

Result<void> HeaderReader::read_tensor(const std::string& name, const Json& json) {
  const Json *dtype_name = json.find("dtype"), *shape = json.find("shape"), *offsets = json.find("data_offsets");
  const auto malformed = [&](std::string_view what) {
    return fail(ErrorCode::corrupt, "{}: tensor \"{}\" {}: the file is damaged, download it again", path(),
                printable(name), what);
  };
  if (name.empty() || name.size() > kNameBytesMax) return malformed(fmt::format("has a name of {} bytes", name.size()));
  if (dtype_name == nullptr || dtype_name->text() == nullptr) return malformed("has no dtype");
  if (shape == nullptr || shape->array() == nullptr) return malformed("has no shape");
  if (shape->array()->size() > kRankMax) {
    return malformed(fmt::format("has {} dimensions, more than {}", shape->array()->size(), kRankMax));
  }
  if (offsets == nullptr || offsets->array() == nullptr || offsets->array()->size() != 2)
    return malformed("has no data_offsets [begin, end]");

  TensorInfo tensor{.name = name, .dtype = *dtype_name->text()};
  for (const Json& dim : *shape->array()) {
    const std::optional<uint64_t> value = natural(&dim);
    if (!value) return malformed(fmt::format("has the dimension {}, no whole number below 2^63", to_text(dim)));
    tensor.shape.push_back(static_cast<int64_t>(*value));
  }
  const std::optional<uint64_t> begin = natural(&(*offsets->array())[0]), end = natural(&(*offsets->array())[1]);
  if (!begin || !end || *begin > *end || *end > static_cast<uint64_t>(INT64_MAX) - data_start_) {
    return malformed(fmt::format("has data_offsets {}, no range", to_text(*offsets)));
  }
  tensor.offset = data_start_ + *begin;
  tensor.bytes = *end - *begin;
  // A dtype from the future is an error only for a model that needs the tensor.
  if (const Dtype* dtype = find_dtype(tensor.dtype)) {
    MOXIE_TRY_VOID(check_size(tensor, *dtype));
    if (!dtype->type.empty()) tensor.type = find_quant_type(dtype->type);
  }
  header_.tensors.push_back(std::move(tensor));
  return {};
}

Result<void> HeaderReader::check_size(const TensorInfo& tensor, const Dtype& dtype) const {
  const uint64_t elements_max = static_cast<uint64_t>(INT64_MAX) / dtype.bits;
  uint64_t elements = 1;
  for (const int64_t dim : tensor.shape) {
    const auto size = static_cast<uint64_t>(dim);
    if (size != 0 && elements > elements_max / size) {
      return fail(ErrorCode::corrupt,
                  "{}: tensor \"{}\" of shape [{}] has more than 2^63 bits: the file is damaged, download it again",
                  path(), printable(tensor.name), fmt::join(tensor.shape, ", "));
    }
    elements *= size;
  }
  const uint64_t bits = elements * dtype.bits;
  if (bits % 8 == 0 && bits / 8 == tensor.bytes) return {};
  return fail(ErrorCode::corrupt,
              "{}: tensor \"{}\" of shape [{}] and dtype {} takes {} bytes, but its data_offsets hold {}: the file is "
              "damaged, download it again",
              path(), printable(tensor.name), fmt::join(tensor.shape, ", "), dtype.name, (bits + 7) / 8, tensor.bytes);
}

Result<void> HeaderReader::check_cover() {
  std::vector<TensorInfo>& tensors = header_.tensors;
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  uint64_t covered = data_start_;
  std::string_view before = "the header";
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != covered) {
      return fail(ErrorCode::corrupt,
                  "{}: {} before tensor \"{}\": it begins at byte {}, {} ends at byte {}: the file is damaged, "
                  "download it again",
                  path(), tensor.offset < covered ? "an overlap" : "a gap", printable(tensor.name), tensor.offset,
                  printable(before), covered);
    }
    covered += tensor.bytes;
    before = tensor.name;
  }
  if (covered > source_.bytes()) return truncated_error(path(), covered, source_.bytes());
  if (covered < source_.bytes()) {
    return fail(
        ErrorCode::corrupt,
        "{}: {} bytes follow the last tensor, which ends at byte {} of {}: the file is damaged, download it again",
        path(), source_.bytes() - covered, covered, source_.bytes());
  }
  return {};
}

}  // namespace

bool begins_as_safetensors(std::string_view first_bytes) {
  uint64_t length = 0;
  if (first_bytes.size() <= kLengthBytes || first_bytes[kLengthBytes] != '{') return false;
  std::memcpy(&length, first_bytes.data(), kLengthBytes);
  return length >= kHeaderBytesMin && length <= kHeaderBytesMax;
}

Result<SafetensorsHeader> read_safetensors_header(const ByteSource& source) {
  return HeaderReader(source).read();
}

}  // namespace moxie
