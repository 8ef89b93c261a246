#include "convert/convert.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "convert/earlier_files.h"
#include "convert/gguf_header_builder.h"
#include "convert/model_keys.h"
#include "convert/tensor_stream.h"
#include "convert/vocabulary_keys.h"
#include "core/fail.h"
#include "core/new_file.h"
#include "core/thread_pool.h"
#include "format/formats/gguf_split.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kUsualAlignment = 32;
constexpr size_t kPartsMaxOfGguf = 99999;

class GgufWriter {
 public:
  GgufWriter(const WeightFiles& source, const std::string& path, const ConvertOptions& options, Log& log)
      : source_(source), path_(path), options_(options), log_(log) {}

  Result<ConvertSummary> write() {
    MOXIE_TRY(const ModelPlan plan, plan_model(source_, options_.arch, log_));
    MOXIE_TRY(tensors_, gguf_tensors(source_, plan, options_.experts, log_));
    MOXIE_TRY_VOID(choose_types(source_, plan, options_, tensors_, log_));
    if (source_.scheme == NameScheme::gguf && !source_.pack_layout) {
      alignment_ = static_cast<uint64_t>(
          source_.metadata.integer("general.alignment").value_or(static_cast<int64_t>(kUsualAlignment)));
    }
    begins_ = divided(tensors_, options_.split_bytes);
    for (size_t part = 0; part < begins_.size(); ++part) {
      MOXIE_TRY(headers_.emplace_back(), header(plan, part));
    }
    count();
    if (options_.dry_run) {
      if (auto checked = check_places(); !checked.ok()) summary_.refusal = std::move(checked).error();
      return std::move(summary_);
    }
    MOXIE_TRY_VOID(copy());
    return std::move(summary_);
  }

 private:
  struct Header {
    std::string bytes;
    uint64_t data_bytes = 0;
  };

  size_t part_end(size_t part) const { return part + 1 < begins_.size() ? begins_[part + 1] : tensors_.size(); }
  Result<Header> header(const ModelPlan& plan, size_t part) const;
  Result<void> add_keys(GgufHeaderBuilder& builder, const ModelPlan& plan) const;
  Result<void> add_source_keys(GgufHeaderBuilder& builder, const ModelPlan& plan) const;
  int file_type() const;
  bool any_quantized() const;
  void count();
  Result<void> check_paths() const;
  Result<void> check_places() const;
  Result<void> copy();
  Result<void> copy_part(NewFile& file, size_t part, TensorStream& stream);

  const WeightFiles& source_;
  const std::string& path_;
  const ConvertOptions& options_;
  Log& log_;
  std::vector<OutputTensor> tensors_;
  std::vector<size_t> begins_;  // first tensor of each part
  std::vector<Header> headers_;
  uint64_t alignment_ = kUsualAlignment;
  uint64_t done_ = 0, total_ = 0;
  ConvertSummary summary_;
};

bool GgufWriter::any_quantized() const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [](const OutputTensor& tensor) { return tensor.type->block_values > 1; });
}

// What a mixture is called by number; without one, that of most of the bytes.
int GgufWriter::file_type() const {
  if (options_.mixture != nullptr) return options_.mixture->file_type;
  std::map<std::string_view, uint64_t> bytes;
  for (const OutputTensor& tensor : tensors_) bytes[tensor.type->name] += tensor.bytes();
  const auto largest =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const Mixture* mixture = find_mixture(largest->first);
  return mixture != nullptr ? mixture->file_type : 1;
}

Result<void> GgufWriter::add_source_keys(GgufHeaderBuilder& builder, const ModelPlan& plan) const {
  MOXIE_TRY(const std::vector<EncodedKey> keys, source_gguf_keys(source_));
  const std::string from = architecture(source_) + ".", arch = gguf_architecture(source_, plan), to = arch + ".";
  std::set<std::string> written;
  for (const EncodedKey& key : keys) {
    const bool of_arch = key.key.starts_with(from);
    const std::string name = of_arch ? to + key.key.substr(from.size()) : key.key;
    written.insert(name);
    if (name == "general.architecture") {
      builder.text(name, arch);
    } else if (name == "general.file_type" && options_.mixture != nullptr) {
      builder.u32(name, static_cast<uint32_t>(file_type()));
    } else {
      builder.raw(name, key.value);
    }
  }
  const auto add = [&](const std::string& name, int64_t value) {
    if (!written.contains(name)) builder.u32(name, static_cast<uint32_t>(value));
  };
  if (options_.mixture != nullptr) add("general.file_type", file_type());
  if (any_quantized()) add("general.quantization_version", 2);
  if (plan.hp.router.experts > 0) add(to + "expert_count", plan.hp.router.experts);
  return {};
}

Result<void> GgufWriter::add_keys(GgufHeaderBuilder& builder, const ModelPlan& plan) const {
  if (source_.scheme == NameScheme::gguf) {
    MOXIE_TRY_VOID(add_source_keys(builder, plan));
  } else {
    add_model_keys(builder, source_, plan, log_);
    builder.u32("general.file_type", static_cast<uint32_t>(file_type()));
    builder.u32("general.quantization_version", 2);
    MOXIE_TRY_VOID(add_vocabulary_keys(builder, source_.tokenizer, plan.hp.vocabulary, log_));
  }
  if (alignment_ != kUsualAlignment) builder.u32("general.alignment", static_cast<uint32_t>(alignment_));
  return {};
}

Result<GgufWriter::Header> GgufWriter::header(const ModelPlan& plan, size_t part) const {
  GgufHeaderBuilder builder(kVersion, alignment_);
  if (part == 0) MOXIE_TRY_VOID(add_keys(builder, plan));
  if (begins_.size() > kPartsMaxOfGguf || (begins_.size() > 1 && begins_.size() > UINT16_MAX)) {
    return fail(ErrorCode::invalid_argument, "{}: would become {} parts, more than {}; let parts be larger", path_,
                begins_.size(), UINT16_MAX);
  }
  if (begins_.size() > 1) {
    builder.u16("split.no", static_cast<uint16_t>(part));
    builder.u16("split.count", static_cast<uint16_t>(begins_.size()));
    builder.i32("split.tensors.count", static_cast<int32_t>(tensors_.size()));
  }
  for (size_t i = begins_[part]; i < part_end(part); ++i) {
    builder.tensor(tensors_[i].name, *tensors_[i].type, tensors_[i].shape, tensors_[i].bytes());
  }
  return Header{.bytes = builder.build(), .data_bytes = builder.data_bytes()};
}

void GgufWriter::count() {
  std::string stem = path_;
  if (stem.ends_with(".gguf")) stem.resize(stem.size() - 5);
  for (size_t part = 0; part < headers_.size(); ++part) {
    summary_.bytes += headers_[part].bytes.size() + headers_[part].data_bytes;
    summary_.paths.push_back(headers_.size() == 1 ? path_
                                                  : gguf_part_name(stem, static_cast<int64_t>(part) + 1,
                                                                   static_cast<int64_t>(headers_.size())));
  }
  summary_.tensors = static_cast<int64_t>(tensors_.size());
  std::map<std::string_view, ConvertSummary::Share> shares;
  for (const OutputTensor& tensor : tensors_) {
    ConvertSummary::Share& share = shares[tensor.type->name];
    share.type = std::string(tensor.type->name);
    ++share.tensors;
    share.bytes += tensor.bytes();
    total_ += tensor.bytes();
  }
  for (auto& [name, share] : shares) summary_.types.push_back(std::move(share));
  std::sort(summary_.types.begin(), summary_.types.end(),
            [](const ConvertSummary::Share& a, const ConvertSummary::Share& b) { return a.bytes > b.bytes; });
}

Result<void> GgufWriter::check_paths() const {
  for (const std::string& path : summary_.paths) {
    for (const WeightPart& part : source_.files) {
      std::error_code ignored;
      if (!std::filesystem::equivalent(part.path, path, ignored)) continue;
      return fail(ErrorCode::invalid_argument, "{}: is the model itself; name another file to write to", path);
    }
  }
  return check_room(summary_.paths.front(), summary_.bytes);
}

// What copy() finds out as it goes.
Result<void> GgufWriter::check_places() const {
  MOXIE_TRY_VOID(check_paths());
  for (const std::string& path : summary_.paths) MOXIE_TRY_VOID(check_writable(path, options_.overwrite));
  return {};
}

Result<void> GgufWriter::copy() {
  MOXIE_TRY_VOID(check_paths());
  std::vector<NewFile> files;  // all at once: a full disk shows before anything is encoded
  for (size_t part = 0; part < headers_.size(); ++part) {
    MOXIE_TRY(NewFile file,
              NewFile::create(summary_.paths[part], headers_[part].bytes.size() + headers_[part].data_bytes,
                              options_.overwrite ? NewFile::Overwrite::yes : NewFile::Overwrite::no));
    files.push_back(std::move(file));
  }
  ThreadPool threads(std::max(1, options_.threads));
  MOXIE_TRY(TensorStream stream, TensorStream::open(source_, threads));
  for (size_t part = 0; part < files.size(); ++part) MOXIE_TRY_VOID(copy_part(files[part], part, stream));
  MOXIE_TRY_VOID(stream.check_unchanged());
  if (stream.beyond_half() > 0) {
    log_.notice(fmt::format("{} values are beyond the reach of F16 and became infinite; BF16 and F32 can hold them",
                            stream.beyond_half()));
  }
  // The first part last: until it is there, none of them opens. Nor does an earlier one open with parts of this set.
  if (files.size() > 1 && options_.overwrite) {
    std::error_code ignored;
    std::filesystem::remove(summary_.paths.front(), ignored);
  }
  for (size_t part = files.size(); part-- > 0;) MOXIE_TRY_VOID(files[part].commit());
  if (options_.overwrite) remove_earlier(earlier_gguf_files(path_, summary_.paths), source_, log_);
  return {};
}

Result<void> GgufWriter::copy_part(NewFile& file, size_t part, TensorStream& stream) {
  MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(headers_[part].bytes))));
  uint64_t at = headers_[part].bytes.size();
  for (size_t i = begins_[part]; i < part_end(part); ++i) {
    const OutputTensor& tensor = tensors_[i];
    std::vector<float> importance;
    if (options_.importance != nullptr && !tensor.is_copied() && tensor.type->block_values > 1) {
      MOXIE_TRY(importance, options_.importance->weights(tensor.name, static_cast<int64_t>(tensor.pieces.size()),
                                                         tensor.columns()));
    }
    uint64_t to = at;
    MOXIE_TRY_VOID(stream.write(tensor, importance, [&](std::span<const std::byte> bytes) -> Result<void> {
      MOXIE_TRY_VOID(file.write_at(to, bytes));
      to += bytes.size();
      done_ += bytes.size();
      if (options_.on_progress && !options_.on_progress(done_, total_))
        return fail(ErrorCode::cancelled, "conversion was cancelled; nothing was left behind");
      return {};
    }));
    at += (tensor.bytes() + alignment_ - 1) & ~(alignment_ - 1);
  }
  return {};
}

}  // namespace

Result<ConvertSummary> convert_to_gguf(const WeightFiles& source, const std::string& path,
                                       const ConvertOptions& options, Log& log) {
  return GgufWriter(source, path, options, log).write();
}

}  // namespace moxie
