#include "convert/safetensors_writer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "convert/earlier_files.h"
#include "convert/hugging_face_config.h"
#include "convert/hugging_face_tensors.h"
#include "convert/hugging_face_tokenizer.h"
#include "convert/tensor_stream.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/new_file.h"
#include "core/thread_pool.h"

namespace moxie {
namespace {

using Json = nlohmann::json;  // sorted: the ordered one looks through all keys for each that is added

struct Dtype {
  std::string_view type, spelled, torch;
};
constexpr Dtype kDtypes[] = {{"f32", "F32", "float32"}, {"f16", "F16", "float16"}, {"bf16", "BF16", "bfloat16"}};

const Dtype& dtype_of(const QuantType& type) {
  return *std::find_if(std::begin(kDtypes), std::end(kDtypes),
                       [&](const Dtype& each) { return each.type == type.name; });
}

class Writer {
 public:
  Writer(const WeightFiles& source, const std::string& folder, const SafetensorsOptions& options, Log& log)
      : source_(source), folder_(folder), options_(options), log_(log) {}

  Result<ConvertSummary> write() {
    MOXIE_TRY(const ModelPlan plan, plan_model(source_, options_.arch, log_));
    MOXIE_TRY(tensors_, hugging_face_tensors(source_, plan, options_.type, log_));
    begins_ = divided(tensors_, options_.split_bytes);
    for (size_t part = 0; part < begins_.size(); ++part) headers_.push_back(header(part));
    count();
    MOXIE_TRY(side_files_["config.json"], hugging_face_config(source_, plan, main_dtype(), log_));
    for (auto& [name, text] : hugging_face_tokenizer(source_.tokenizer, log_)) side_files_[name] = std::move(text);
    if (begins_.size() > 1) side_files_[kIndex] = index();
    if (options_.dry_run) {
      if (auto checked = check_places(); !checked.ok()) summary_.refusal = std::move(checked).error();
      return std::move(summary_);
    }
    MOXIE_TRY(const bool made, make_folder());
    if (const auto copied = copy(); !copied.ok()) {
      std::error_code ignored;
      if (made) std::filesystem::remove(folder_, ignored);  // where it is empty
      return copied.error();
    }
    return summary_;
  }

 private:
  static constexpr const char* kIndex = "model.safetensors.index.json";
  size_t part_end(size_t part) const { return part + 1 < begins_.size() ? begins_[part + 1] : tensors_.size(); }
  std::string part_name(size_t part) const {
    if (begins_.size() == 1) return "model.safetensors";
    return fmt::format("model-{:05}-of-{:05}.safetensors", part + 1, begins_.size());
  }
  std::string header(size_t part) const;
  std::string index() const;
  void count();
  std::string_view main_dtype() const;
  Result<bool> make_folder() const;
  Error no_folder(const std::string& why) const {
    return fail(ErrorCode::io, "{}: cannot make this folder: {}", folder_, why);
  }
  Result<void> check_paths() const;
  Result<void> check_places() const;
  std::vector<std::string> all_paths() const;
  Result<NewFile> create(const std::string& name, uint64_t bytes) const {
    return NewFile::create(join_path(folder_, name), bytes,
                           options_.overwrite ? NewFile::Overwrite::yes : NewFile::Overwrite::no);
  }
  Result<void> copy();
  Result<void> copy_part(NewFile& file, size_t part, TensorStream& stream);

  const WeightFiles& source_;
  const std::string& folder_;
  const SafetensorsOptions& options_;
  Log& log_;
  std::vector<OutputTensor> tensors_;
  std::vector<size_t> begins_;  // first tensor of each part
  std::vector<std::string> headers_;
  std::vector<uint64_t> part_bytes_;
  std::map<std::string, std::string> side_files_;
  uint64_t done_ = 0, total_ = 0;
  ConvertSummary summary_;
};

// The length of the JSON, and the JSON, filled up to whole words.
std::string Writer::header(size_t part) const {
  Json json;
  json["__metadata__"] = {{"format", "pt"}};
  uint64_t at = 0;
  for (size_t i = begins_[part]; i < part_end(part); ++i) {
    const OutputTensor& tensor = tensors_[i];
    json[tensor.name] = {{"dtype", dtype_of(*tensor.type).spelled},
                         {"shape", tensor.shape},
                         {"data_offsets", {at, at + tensor.bytes()}}};
    at += tensor.bytes();
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

std::string Writer::index() const {
  Json map;
  for (size_t part = 0; part < begins_.size(); ++part) {
    for (size_t i = begins_[part]; i < part_end(part); ++i) map[tensors_[i].name] = part_name(part);
  }
  const Json all = {{"metadata", {{"total_size", total_}}}, {"weight_map", std::move(map)}};
  return all.dump(2) + "\n";
}

void Writer::count() {
  std::map<std::string_view, ConvertSummary::Share> shares;
  part_bytes_.resize(begins_.size());
  for (size_t part = 0; part < begins_.size(); ++part) {
    for (size_t i = begins_[part]; i < part_end(part); ++i) {
      ConvertSummary::Share& share = shares[tensors_[i].type->name];
      share.type = std::string(tensors_[i].type->name);
      ++share.tensors;
      share.bytes += tensors_[i].bytes();
      part_bytes_[part] += tensors_[i].bytes();
    }
    total_ += part_bytes_[part];
    summary_.bytes += headers_[part].size() + part_bytes_[part];
    summary_.paths.push_back(join_path(folder_, part_name(part)));
  }
  summary_.tensors = std::ssize(tensors_);
  for (auto& [name, share] : shares) summary_.types.push_back(std::move(share));
  std::sort(summary_.types.begin(), summary_.types.end(),
            [](const ConvertSummary::Share& a, const ConvertSummary::Share& b) { return a.bytes > b.bytes; });
}

std::string_view Writer::main_dtype() const {
  return dtype_of(*find_quant_type(summary_.types.front().type)).torch;
}

// False: it is there.
Result<bool> Writer::make_folder() const {
  std::error_code error;
  const bool made = std::filesystem::create_directories(folder_, error);
  if (is_folder(folder_)) return made;
  return no_folder(!error || error == std::errc::not_a_directory ? "a file is there" : error.message());
}

// Not beside the source's safetensors either: their config.json and index would become those of what is written.
Result<void> Writer::check_paths() const {
  for (const WeightPart& part : source_.files) {
    std::error_code ignored;
    const bool beside = source_.scheme == NameScheme::hugging_face &&
                        std::filesystem::equivalent(parent_folder(part.path), folder_, ignored);
    const bool same = std::any_of(summary_.paths.begin(), summary_.paths.end(), [&](const std::string& path) {
      return std::filesystem::equivalent(part.path, path, ignored);
    });
    if (!beside && !same) continue;
    return fail(ErrorCode::invalid_argument, "{}: holds the model itself; name another folder to write to", folder_);
  }
  return check_room(summary_.paths.front(), summary_.bytes);
}

std::vector<std::string> Writer::all_paths() const {
  std::vector<std::string> paths = summary_.paths;
  for (const auto& [name, text] : side_files_) paths.push_back(join_path(folder_, name));
  return paths;
}

// What make_folder() and copy() find out as they go.
Result<void> Writer::check_places() const {
  // Of what is absent the topmost folder could be made, or none of it.
  std::filesystem::path place = std::filesystem::absolute(folder_).lexically_normal(), absent;
  if (!place.has_filename()) place = place.parent_path();
  for (; !is_present(place.string()) && place.has_relative_path(); place = place.parent_path()) absent = place;
  if (!is_folder(place.string())) return no_folder("a file is there");
  if (!absent.empty()) {
    MOXIE_TRY_VOID(check_writable(absent.string(), false));
    return check_room(absent.string(), summary_.bytes);
  }
  MOXIE_TRY_VOID(check_paths());
  for (const std::string& path : all_paths()) MOXIE_TRY_VOID(check_writable(path, options_.overwrite));
  return {};
}

Result<void> Writer::copy() {
  MOXIE_TRY_VOID(check_paths());
  std::vector<NewFile> files;  // all at once: a full disk shows before anything is encoded
  for (size_t part = 0; part < headers_.size(); ++part) {
    MOXIE_TRY(NewFile file, create(part_name(part), headers_[part].size() + part_bytes_[part]));
    files.push_back(std::move(file));
  }
  std::map<std::string, NewFile> others;
  for (const auto& [name, text] : side_files_) {
    MOXIE_TRY(NewFile file, create(name, text.size()));
    MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(text))));
    others.emplace(name, std::move(file));
  }
  ThreadPool threads(std::max(1, options_.threads));
  MOXIE_TRY(TensorStream stream, TensorStream::open(source_, threads));
  for (size_t part = 0; part < files.size(); ++part) MOXIE_TRY_VOID(copy_part(files[part], part, stream));
  MOXIE_TRY_VOID(stream.check_unchanged());
  if (stream.beyond_half() > 0) {
    log_.notice(fmt::format("{} values are beyond the reach of F16 and became infinite; BF16 and F32 can hold them",
                            stream.beyond_half()));
  }
  std::vector<std::string> earlier;
  if (options_.overwrite) earlier = earlier_safetensors_files(folder_, all_paths());
  // Of an earlier set in several files nothing opens without its index and first part.
  if (options_.overwrite && files.size() > 1) {
    std::error_code ignored;
    std::filesystem::remove(join_path(folder_, kIndex), ignored);
    std::filesystem::remove(summary_.paths.front(), ignored);
  }
  for (auto& [name, file] : others) {
    if (name != kIndex) MOXIE_TRY_VOID(file.commit());
  }
  for (size_t part = files.size(); part-- > 0;) MOXIE_TRY_VOID(files[part].commit());
  if (const auto index = others.find(kIndex); index != others.end()) MOXIE_TRY_VOID(index->second.commit());
  remove_earlier(earlier, source_, log_);
  return {};
}

Result<void> Writer::copy_part(NewFile& file, size_t part, TensorStream& stream) {
  MOXIE_TRY_VOID(file.write_at(0, std::as_bytes(std::span(headers_[part]))));
  uint64_t at = headers_[part].size();
  for (size_t i = begins_[part]; i < part_end(part); ++i) {
    MOXIE_TRY_VOID(stream.write(tensors_[i], {}, [&](std::span<const std::byte> bytes) -> Result<void> {
      MOXIE_TRY_VOID(file.write_at(at, bytes));
      at += bytes.size();
      done_ += bytes.size();
      if (options_.on_progress && !options_.on_progress(done_, total_))
        return fail(ErrorCode::cancelled, "conversion was cancelled; nothing was left behind");
      return {};
    }));
  }
  return {};
}

}  // namespace

Result<ConvertSummary> convert_to_safetensors(const WeightFiles& source, const std::string& folder,
                                              const SafetensorsOptions& options, Log& log) {
  return Writer(source, folder, options, log).write();
}

}  // namespace moxie
