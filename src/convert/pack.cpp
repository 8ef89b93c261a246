#include "convert/pack.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <unordered_set>

#include "convert/gguf_header_builder.h"
#include "convert/weight_bytes.h"
#include "core/fail.h"
#include "core/new_file.h"
#include "core/xxh64.h"
#include "format/formats/gguf_pack.h"
#include "format/messages.h"
#include "model/model.h"

namespace moxie {
namespace {

constexpr uint32_t kNewVersion = 3;
constexpr size_t kGgufDimensionsMax = 4;

// A tensor of the pack, and where its bytes are.
struct Piece {
  std::string name;
  const QuantType* type;
  std::vector<int64_t> shape;
  WeightRange from;
  std::optional<uint64_t> expected;  // checksum that the source gives
};

class PackWriter {
 public:
  PackWriter(const WeightFiles& source, const std::string& path, const PackOptions& options, Log& log)
      : source_(source), path_(path), options_(options), log_(log) {}

  Result<PackSummary> write() {
    MOXIE_TRY_VOID(check_path());
    MOXIE_TRY(const ModelPlan plan, plan_model(source_, options_.arch, log_));
    MOXIE_TRY_VOID(collect(plan));
    MOXIE_TRY_VOID(check_found_again(plan));
    MOXIE_TRY_VOID(read_source_keys());
    checksums_.assign(pieces_.size(), 0);
    const Header blank = header();
    summary_.bytes = blank.bytes.size() + blank.data_bytes;
    MOXIE_TRY(NewFile file, NewFile::create(path_, summary_.bytes,
                                            options_.overwrite ? NewFile::Overwrite::yes : NewFile::Overwrite::no));
    MOXIE_TRY_VOID(copy(file, blank));
    summary_.fingerprint = fingerprint();
    Header final = header();
    const MemorySource bytes(path_, final.bytes);
    MOXIE_TRY(const uint64_t checksum, pack_header_checksum(bytes, final.bytes.size(), final.checksum_at));
    std::memcpy(final.bytes.data() + final.checksum_at, &checksum, sizeof checksum);
    MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(final.bytes))));
    MOXIE_TRY_VOID(file.commit());
    return summary_;
  }

 private:
  struct Header {
    std::string bytes;
    size_t checksum_at = 0;
    uint64_t data_bytes = 0;
  };

  Result<void> check_path() const {
    for (const WeightPart& part : source_.files) {
      std::error_code ignored;
      if (!std::filesystem::equivalent(part.path, path_, ignored)) continue;
      return fail(ErrorCode::invalid_argument, "{}: is the model itself; name another file to write to", path_);
    }
    return {};
  }

  Result<void> collect(const ModelPlan& plan);
  Result<void> add_expert(const ModelPlan& plan, int64_t layer, int64_t id, std::set<const TensorInfo*>& used);
  Result<void> check_found_again(const ModelPlan& plan) const;
  Result<void> read_source_keys();
  void add_origin(GgufHeaderBuilder& builder) const;
  Header header() const;
  uint64_t fingerprint() const;
  Result<void> copy(NewFile& file, const Header& header);

  const WeightFiles& source_;
  const std::string& path_;
  const PackOptions& options_;
  Log& log_;
  std::vector<Piece> pieces_;  // dense ones first
  uint32_t version_ = kNewVersion;
  std::vector<std::string> source_keys_;  // encoded
  std::vector<int64_t> checksums_;        // by piece
  PackSummary summary_;
};

Result<void> PackWriter::add_expert(const ModelPlan& plan, int64_t layer, int64_t id,
                                    std::set<const TensorInfo*>& used) {
  const ExpertRecord& record = plan.experts.experts[static_cast<size_t>(layer)][static_cast<size_t>(id)];
  MOXIE_TRY(auto names, expert_tensor_names(source_, *plan.family, layer, id));
  const std::array projections = {&record.gate, &record.up, &record.down};
  for (size_t i = 0; i < projections.size(); ++i) {
    const ProjectionRecord& projection = *projections[i];
    const bool whole = projection.bytes() == projection.tensor->bytes;
    pieces_.push_back({.name = std::move(names[i]),
                       .type = projection.tensor->type,
                       .shape = {projection.rows, projection.columns},
                       .from = {projection.tensor->file, projection.offset(), projection.bytes()},
                       .expected = whole ? projection.tensor->checksum : std::nullopt});
    used.insert(projection.tensor);
  }
  ++summary_.experts;
  summary_.expert_bytes += record.bytes();
  return {};
}

Result<void> PackWriter::collect(const ModelPlan& plan) {
  std::set<const TensorInfo*> used;
  for (size_t layer = 0; layer < plan.experts.experts.size(); ++layer) {
    for (size_t id = 0; id < plan.experts.experts[layer].size(); ++id) {
      MOXIE_TRY_VOID(add_expert(plan, static_cast<int64_t>(layer), static_cast<int64_t>(id), used));
    }
  }
  std::unordered_set<std::string_view> taken;
  for (const Piece& piece : pieces_) taken.insert(piece.name);
  std::vector<Piece> dense;
  std::vector<std::string> left_out;
  for (const TensorInfo& tensor : source_.tensors) {
    if (used.contains(&tensor)) continue;
    // What no weight type stands for cannot be in GGUF, and nothing computes with it.
    if (tensor.type == nullptr || tensor.shape.size() > kGgufDimensionsMax || taken.contains(tensor.name)) {
      left_out.push_back(tensor.name);
      continue;
    }
    dense.push_back({.name = tensor.name,
                     .type = tensor.type,
                     .shape = tensor.shape,
                     .from = {tensor.file, tensor.offset, tensor.bytes},
                     .expected = tensor.checksum});
  }
  summary_.dense_tensors = static_cast<int64_t>(dense.size());
  pieces_.insert(pieces_.begin(), std::make_move_iterator(dense.begin()), std::make_move_iterator(dense.end()));
  if (!left_out.empty()) {
    log_.notice(fmt::format("{} tensors that the model does not use are left out: {}", left_out.size(),
                            name_some(left_out, 4)));
  }
  for (const Piece& piece : pieces_) {
    if (piece.type->gguf_id >= 0) continue;
    return fail(ErrorCode::unsupported,
                "{}: tensor '{}' has type {}, for which a pack has no number; a pack of this model cannot be made{}",
                source_.path, printable(piece.name), piece.type->name,
                piece.type->twin.empty() ? "" : " from these files: convert them to GGUF first, and pack that");
  }
  return {};
}

// A source may hold experts in two forms, of which one is used: the other must not be the one that is found in the
// pack.
Result<void> PackWriter::check_found_again(const ModelPlan& plan) const {
  WeightFiles packed;
  packed.path = path_;
  packed.scheme = source_.scheme;
  for (const Piece& piece : pieces_) {
    packed.add({.name = piece.name, .type = piece.type, .shape = piece.shape, .bytes = piece.from.bytes});
  }
  MOXIE_TRY(const ExpertTable table, find_experts(packed, *plan.family, plan.hp));
  const Piece* next = pieces_.data() + summary_.dense_tensors;
  for (const std::vector<ExpertRecord>& layer : table.experts) {
    for (const ExpertRecord& record : layer) {
      for (const ProjectionRecord* projection : {&record.gate, &record.up, &record.down}) {
        if (projection->tensor->name == (next++)->name) continue;
        return fail(ErrorCode::unsupported, "{}: holds its experts twice, once in '{}'; remove one of the two",
                    source_.path, printable(projection->tensor->name));
      }
    }
  }
  return {};
}

Result<void> PackWriter::read_source_keys() {
  if (source_.scheme == NameScheme::hugging_face) return {};
  MOXIE_TRY(const FileSource file, FileSource::open(source_.files.front().path));
  MOXIE_TRY(const GgufHeader header, read_gguf_header(file));
  version_ = header.version;
  for (const GgufKeyPlace& place : header.keys) {
    if (place.key == "general.alignment" || place.key.starts_with("split.") ||
        place.key.starts_with(pack_keys::kPrefix))
      continue;
    std::string& bytes = source_keys_.emplace_back(static_cast<size_t>(place.end - place.begin), '\0');
    MOXIE_TRY_VOID(file.read_at(place.begin, std::as_writable_bytes(std::span(bytes))));
  }
  return {};
}

// A pack of a pack names the first source.
void PackWriter::add_origin(GgufHeaderBuilder& builder) const {
  std::string format = source_.format;
  std::vector<std::string> names;
  std::vector<int64_t> sizes;
  for (const WeightPart& part : source_.files) {
    names.push_back(std::filesystem::path(part.path).filename().string());
    sizes.push_back(static_cast<int64_t>(part.bytes));
  }
  if (source_.pack_layout) {
    format = source_.metadata.text(pack_keys::kSourceFormat).value_or(format);
    names = source_.metadata.texts(pack_keys::kSourceFiles).value_or(names);
    sizes = source_.metadata.integers(pack_keys::kSourceBytes).value_or(sizes);
  }
  builder.text(pack_keys::kSourceFormat, format);
  builder.texts(pack_keys::kSourceFiles, names);
  builder.i64s(pack_keys::kSourceBytes, sizes);
}

PackWriter::Header PackWriter::header() const {
  GgufHeaderBuilder builder(version_, kPackAlignment);
  const bool gguf = source_.scheme == NameScheme::gguf;
  builder.u32(pack_keys::kLayout, kPlainRowsLayout);
  const size_t checksum_at_key = builder.u64(pack_keys::kHeader, 0);
  builder.text(pack_keys::kNames, gguf ? "gguf" : "hugging_face");
  builder.i64s(pack_keys::kChecksums, checksums_);
  add_origin(builder);
  builder.u64(pack_keys::kFingerprint, summary_.fingerprint);
  builder.u32("general.alignment", kPackAlignment);
  for (const std::string& key : source_keys_) builder.raw(key);
  if (!gguf) {
    // GGUF readers ask for it; a name that none of them takes for an architecture with tensor names of its own.
    builder.text("general.architecture", "moxie_pack");
    builder.text(std::string(pack_keys::kFile) + "config.json", source_.config);
    for (const auto& [name, text] : source_.tokenizer.files) builder.text(std::string(pack_keys::kFile) + name, text);
    for (const auto& [name, text] : source_.tokenizer.chat_templates) {
      builder.text(std::string(pack_keys::kTemplate) + name, text);
    }
  }
  for (const Piece& piece : pieces_) builder.tensor(piece.name, *piece.type, piece.shape, piece.from.bytes);
  return {.bytes = builder.build(), .checksum_at = checksum_at_key, .data_bytes = builder.data_bytes()};
}

uint64_t PackWriter::fingerprint() const {
  Xxh64 hash;
  const auto take_text = [&](std::string_view text) {
    hash.update(std::as_bytes(std::span(text)));
    hash.update(std::array{std::byte{0}});
  };
  for (size_t i = 0; i < pieces_.size(); ++i) {
    take_text(pieces_[i].name);
    take_text(pieces_[i].type->name);
    hash.update(std::as_bytes(std::span(pieces_[i].shape)));
    hash.update(std::as_bytes(std::span(&checksums_[i], 1)));
  }
  return hash.digest();
}

Result<void> PackWriter::copy(NewFile& file, const Header& header) {
  MOXIE_TRY(WeightBytes bytes, WeightBytes::open(source_));
  uint64_t done = 0, total = 0, at = header.bytes.size();
  for (const Piece& piece : pieces_) total += piece.from.bytes;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    Xxh64 hash;
    uint64_t to = at;
    MOXIE_TRY_VOID(bytes.read(piece.from, [&](std::span<const std::byte> part) -> Result<void> {
      hash.update(part);
      MOXIE_TRY_VOID(file.write_at(to, part));
      to += part.size();
      done += part.size();
      if (options_.on_progress && !options_.on_progress(done, total))
        return fail(ErrorCode::cancelled, "conversion was cancelled");
      return {};
    }));
    const uint64_t found = hash.digest();
    if (piece.expected && *piece.expected != found) {
      return fail(
          ErrorCode::corrupt,
          "{}: tensor '{}' has the checksum {:016x}, but its bytes give {:016x}: the file is damaged; get it again",
          source_.path, printable(piece.name), *piece.expected, found);
    }
    checksums_[i] = static_cast<int64_t>(found);
    at += (piece.from.bytes + kPackAlignment - 1) & ~(kPackAlignment - 1);
  }
  return bytes.check_unchanged();
}

}  // namespace

Result<PackSummary> write_pack(const WeightFiles& source, const std::string& path, const PackOptions& options,
                               Log& log) {
  return PackWriter(source, path, options, log).write();
}

}  // namespace moxie
