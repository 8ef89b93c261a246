#include "convert/importance.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <span>

#include "convert/gguf_header_builder.h"
#include "core/append_number.h"
#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/new_file.h"
#include "core/printable.h"
#include "format/formats/gguf_header.h"

namespace moxie {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr std::string_view kDatasets = "imatrix.datasets", kChunks = "imatrix.chunk_count",
                           kChunkTokens = "imatrix.chunk_size";
constexpr int32_t kNameBytesMax = 4096;

Error not_importance(const std::string& path, std::string_view why) {
  return fail(ErrorCode::corrupt, "{}: is no importance matrix, or a damaged one: {}; llama-imatrix makes one", path,
              why);
}

// ---- reading ----

Result<std::vector<float>> read_floats(const FileSource& file, const TensorInfo& tensor) {
  if (tensor.type->name != "f32") {
    return not_importance(file.path(), fmt::format("'{}' is of {}, not F32", printable(tensor.name), tensor.dtype));
  }
  std::vector<float> values(static_cast<size_t>(tensor.elements()));  // checked against the file
  MOXIE_TRY_VOID(file.read_at(tensor.offset, std::as_writable_bytes(std::span(values))));
  return values;
}

Result<ImportanceMatrix> read_gguf_form(const FileSource& file) {
  MOXIE_TRY(const GgufHeader header, read_gguf_header(file));
  ImportanceMatrix matrix;
  for (const TensorInfo& tensor : header.tensors) {
    const std::string_view name = tensor.name;
    for (const std::string_view ending : {kSums, kCounts}) {
      if (!name.ends_with(ending)) continue;
      MOXIE_TRY(std::vector<float> values, read_floats(file, tensor));
      ImportanceEntry& entry = matrix.entries[std::string(name.substr(0, name.size() - ending.size()))];
      (ending == kSums ? entry.sums : entry.counts) = std::move(values);
    }
  }
  if (matrix.entries.empty()) return not_importance(file.path(), "it holds no sums of squares");
  matrix.datasets = header.metadata.texts(kDatasets).value_or(std::vector<std::string>{});
  const auto number = [&](std::string_view key) {
    return static_cast<uint32_t>(std::clamp<int64_t>(header.metadata.integer(key).value_or(0), 0, UINT32_MAX));
  };
  matrix.chunks = number(kChunks);
  matrix.chunk_tokens = number(kChunkTokens);
  return matrix;
}

// Entries of name, calls, and the mean squares times the calls.
Result<ImportanceMatrix> read_older_form(const FileSource& file) {
  ImportanceMatrix matrix;
  ByteReader in(file);
  MOXIE_TRY(const int32_t entries, in.read<int32_t>());
  if (entries < 1) return not_importance(file.path(), fmt::format("it claims {} entries", entries));
  for (int32_t i = 0; i < entries; ++i) {
    MOXIE_TRY(const int32_t length, in.read<int32_t>());
    if (length < 1 || length > kNameBytesMax)
      return not_importance(file.path(), fmt::format("entry {} has a name of {} bytes", i, length));
    MOXIE_TRY(const std::string name, in.read_string(static_cast<uint64_t>(length)));
    MOXIE_TRY(const int32_t calls, in.read<int32_t>());
    MOXIE_TRY(const int32_t values, in.read<int32_t>());
    if (values < 1 || static_cast<uint64_t>(values) > in.remaining() / sizeof(float))
      return not_importance(file.path(), fmt::format("'{}' claims {} values", printable(name), values));
    ImportanceEntry& entry = matrix.entries[name];
    entry.sums.resize(static_cast<size_t>(values));
    MOXIE_TRY_VOID(in.read_bytes(std::as_writable_bytes(std::span(entry.sums))));
    entry.counts = {static_cast<float>(std::max(1, calls))};
  }
  if (in.remaining() < 2 * sizeof(int32_t)) return matrix;  // the oldest files end here
  MOXIE_TRY(const int32_t chunks, in.read<int32_t>());
  MOXIE_TRY(const int32_t length, in.read<int32_t>());
  matrix.chunks = static_cast<uint32_t>(std::max(0, chunks));
  if (length < 0 || static_cast<uint64_t>(length) > in.remaining())
    return not_importance(file.path(), fmt::format("the name of its text claims {} bytes", length));
  MOXIE_TRY(std::string dataset, in.read_string(static_cast<uint64_t>(length)));
  matrix.datasets = {std::move(dataset)};
  return matrix;
}

Result<void> check(const ImportanceMatrix& matrix, const std::string& path) {
  for (const auto& [name, entry] : matrix.entries) {
    const size_t counts = entry.counts.size();
    if (counts == 0 || entry.sums.empty() || entry.sums.size() % counts != 0) {
      return not_importance(path,
                            fmt::format("'{}' has {} sums for {} counts", printable(name), entry.sums.size(), counts));
    }
    for (const std::vector<float>* values : {&entry.sums, &entry.counts}) {
      for (const float value : *values) {
        if (std::isfinite(value) && value >= 0) continue;
        return not_importance(path, fmt::format("'{}' holds {}, which no sum of squares is", printable(name), value));
      }
    }
  }
  return {};
}

// ---- names of experts ----

struct ExpertName {
  std::string merged;  // of the tensor that holds them all
  int64_t expert;
};

// "blk.3.ffn_down.7.weight"
std::optional<ExpertName> one_expert(const std::string& name) {
  constexpr std::string_view kEnd = ".weight";
  if (!name.ends_with(kEnd)) return std::nullopt;
  const std::string_view stem = std::string_view(name).substr(0, name.size() - kEnd.size());
  const size_t dot = stem.rfind('.');
  if (dot == std::string_view::npos || stem.find(".ffn_") == std::string_view::npos) return std::nullopt;
  int64_t expert = -1;
  const auto parsed = std::from_chars(stem.data() + dot + 1, stem.data() + stem.size(), expert);
  if (parsed.ec != std::errc() || parsed.ptr != stem.data() + stem.size() || expert < 0) return std::nullopt;
  return ExpertName{std::string(stem.substr(0, dot)) + "_exps.weight", expert};
}

std::string name_of_one(const std::string& merged, int64_t expert) {
  constexpr std::string_view kEnd = "_exps.weight";
  if (!merged.ends_with(kEnd)) return {};
  return fmt::format("{}.{}.weight", merged.substr(0, merged.size() - kEnd.size()), expert);
}

void append_means(const ImportanceEntry& entry, size_t matrix, size_t columns, std::vector<float>& to) {
  const float count = entry.counts.size() == 1 ? entry.counts[0] : entry.counts[matrix];
  const size_t at = entry.sums.size() == columns ? 0 : matrix * columns;
  for (size_t i = 0; i < columns; ++i) to.push_back(count > 0 ? entry.sums[at + i] / count : 1.0f);
}

// ---- writing ----

std::string older_form(const ImportanceMatrix& matrix) {
  std::string out;
  append_number(out, static_cast<int32_t>(matrix.entries.size()));
  for (const auto& [name, entry] : matrix.entries) {
    append_number(out, static_cast<int32_t>(name.size()));
    out += name;
    const float largest = *std::max_element(entry.counts.begin(), entry.counts.end());
    const float calls =
        std::clamp(std::ceil(largest / static_cast<float>(std::max(1u, matrix.chunk_tokens))), 1.0f, 0x1p30f);
    append_number(out, static_cast<int32_t>(calls));
    append_number(out, static_cast<int32_t>(entry.sums.size()));
    std::vector<float> means;
    const size_t columns = entry.sums.size() / entry.counts.size();
    for (size_t m = 0; m < entry.counts.size(); ++m) append_means(entry, m, columns, means);
    for (const float mean : means) append_number(out, mean * calls);
  }
  append_number(out, static_cast<int32_t>(matrix.chunks));
  const std::string dataset = matrix.datasets.empty() ? "" : matrix.datasets.back();
  append_number(out, static_cast<int32_t>(dataset.size()));
  return out + dataset;
}

std::string gguf_form(const ImportanceMatrix& matrix) {
  constexpr uint64_t kAlignment = 32;
  GgufHeaderBuilder builder(3, kAlignment);
  builder.text("general.type", "imatrix");
  builder.texts(kDatasets, matrix.datasets);
  builder.u32(kChunks, matrix.chunks);
  builder.u32(kChunkTokens, matrix.chunk_tokens);
  const QuantType& f32 = *find_quant_type("f32");
  std::string data;
  const auto add = [&](const std::string& name, const std::vector<float>& values, size_t matrices) {
    const auto rows = static_cast<int64_t>(matrices), columns = static_cast<int64_t>(values.size() / matrices);
    builder.tensor(name, f32, std::vector<int64_t>{rows, columns}, values.size() * sizeof(float));
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    data.resize(builder.aligned(data.size()), '\0');
  };
  for (const auto& [name, entry] : matrix.entries) {
    add(name + std::string(kSums), entry.sums, entry.counts.size());
    add(name + std::string(kCounts), entry.counts, entry.counts.size());
  }
  return builder.build() + data;
}

}  // namespace

Result<std::vector<float>> ImportanceMatrix::weights(const std::string& name, int64_t matrices, int64_t columns) const {
  const auto wide = static_cast<size_t>(columns), count = static_cast<size_t>(matrices);
  const auto misfit = [&](const std::string& which, size_t values) {
    return fail(ErrorCode::invalid_argument,
                "the importance matrix has {} values for '{}', which has {} columns in {} matrices: it was made from "
                "another model",
                values, printable(which), columns, matrices);
  };
  std::vector<float> all;
  if (const auto found = entries.find(name); found != entries.end()) {
    const ImportanceEntry& entry = found->second;
    const bool fits = entry.sums.size() == wide || entry.sums.size() == wide * count;
    if (!fits || (entry.counts.size() != 1 && entry.counts.size() != count)) return misfit(name, entry.sums.size());
    for (size_t m = 0; m < count; ++m) append_means(entry, m, wide, all);
    return all;
  }
  if (const auto one = one_expert(name)) {
    const auto found = entries.find(one->merged);
    if (found == entries.end()) return all;
    const ImportanceEntry& entry = found->second;
    const auto expert = static_cast<size_t>(one->expert);
    if (entry.sums.size() % wide != 0 || expert >= entry.sums.size() / wide ||
        (entry.counts.size() != 1 && expert >= entry.counts.size())) {
      return misfit(one->merged, entry.sums.size());
    }
    append_means(entry, expert, wide, all);
    return all;
  }
  bool any = false;
  for (int64_t m = 0; m < matrices; ++m) {
    const auto found = entries.find(name_of_one(name, m));
    if (found == entries.end()) {
      all.insert(all.end(), wide, 1.0f);
      continue;
    }
    if (found->second.sums.size() != wide) return misfit(found->first, found->second.sums.size());
    append_means(found->second, 0, wide, all);
    any = true;
  }
  if (!any) all.clear();
  return all;
}

Result<void> ImportanceMatrix::add(const ImportanceMatrix& other) {
  // The older form counts chunks, not tokens, and knows nothing of their length: they are taken to be as long as these.
  const auto in_tokens = [this, &other](const ImportanceEntry& from) {
    ImportanceEntry made = from;
    if (other.chunk_tokens > 0 || chunk_tokens == 0) return made;
    for (std::vector<float>* values : {&made.sums, &made.counts}) {
      for (float& value : *values) value *= static_cast<float>(chunk_tokens);
    }
    return made;
  };
  const auto accumulate = [](const std::vector<float>& from, std::vector<float>& to) {
    std::transform(from.begin(), from.end(), to.begin(), to.begin(), std::plus<>());
  };
  for (const auto& [name, other_entry] : other.entries) {
    ImportanceEntry entry = in_tokens(other_entry);
    const auto [own, is_new] = entries.try_emplace(name, entry);
    if (is_new) continue;
    // It also has one count for all experts.
    if (entry.counts.size() == 1) entry.counts.resize(own->second.counts.size(), entry.counts.front());
    if (own->second.counts.size() == 1) own->second.counts.resize(entry.counts.size(), own->second.counts.front());
    if (own->second.sums.size() != entry.sums.size() || own->second.counts.size() != entry.counts.size()) {
      return fail(ErrorCode::invalid_argument,
                  "one importance matrix has {} sums and {} counts for '{}', another {} and {}: they are of different "
                  "models",
                  own->second.sums.size(), own->second.counts.size(), printable(name), entry.sums.size(),
                  entry.counts.size());
    }
    accumulate(entry.sums, own->second.sums);
    accumulate(entry.counts, own->second.counts);
  }
  datasets.insert(datasets.end(), other.datasets.begin(), other.datasets.end());
  chunks += other.chunks;
  chunk_tokens = std::max(chunk_tokens, other.chunk_tokens);
  return {};
}

Result<ImportanceMatrix> read_importance(const std::string& path) {
  MOXIE_TRY(const FileSource file, FileSource::open(path));
  char start[4] = {};
  if (file.bytes() < sizeof start) return not_importance(path, "it is empty");
  MOXIE_TRY_VOID(file.read_at(0, std::as_writable_bytes(std::span(start))));
  ImportanceMatrix matrix;
  if (std::string_view(start, sizeof start) == "GGUF") {
    MOXIE_TRY(matrix, read_gguf_form(file));
  } else {
    MOXIE_TRY(matrix, read_older_form(file));
  }
  MOXIE_TRY_VOID(check(matrix, path));
  return matrix;
}

Result<void> write_importance(const ImportanceMatrix& matrix, const std::string& path, bool overwrite) {
  const std::string bytes = path.ends_with(".dat") ? older_form(matrix) : gguf_form(matrix);
  MOXIE_TRY(NewFile file,
            NewFile::create(path, bytes.size(), overwrite ? NewFile::Overwrite::yes : NewFile::Overwrite::no));
  MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(bytes))));
  return file.commit();
}

}  // namespace moxie
