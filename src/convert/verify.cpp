#include <map>

#include "convert/pack.h"
#include "convert/weight_bytes.h"
#include "core/fail.h"
#include "core/xxh64.h"
#include "format/messages.h"
#include "model/model.h"

namespace moxie {
namespace {

constexpr size_t kNamedMax = 4;

// "expert 5 of layer 3 (blk.3.ffn_up.5.weight)"; the tensor's name alone where the model cannot be told.
std::map<const TensorInfo*, std::string> expert_names(const WeightFiles& files) {
  std::map<const TensorInfo*, std::string> names;
  Log unheard;
  const auto plan = plan_model(files, {}, unheard);
  if (!plan.ok()) return names;
  for (size_t layer = 0; layer < plan->experts.experts.size(); ++layer) {
    for (size_t id = 0; id < plan->experts.experts[layer].size(); ++id) {
      const ExpertRecord& record = plan->experts.experts[layer][id];
      for (const ProjectionRecord* projection : {&record.gate, &record.up, &record.down}) {
        names[projection->tensor] =
            fmt::format("expert {} of layer {} ({})", id, layer, printable(projection->tensor->name));
      }
    }
  }
  return names;
}

}  // namespace

Result<VerifySummary> verify_checksums(const WeightFiles& files, const ConvertProgress& on_progress) {
  VerifySummary summary;
  uint64_t total = 0;
  for (const TensorInfo& tensor : files.tensors) total += tensor.checksum ? tensor.bytes : 0;
  MOXIE_TRY(const WeightBytes bytes, WeightBytes::open(files));
  std::vector<const TensorInfo*> damaged;
  for (const TensorInfo& tensor : files.tensors) {
    if (!tensor.checksum) continue;
    Xxh64 hash;
    MOXIE_TRY_VOID(
        bytes.read({tensor.file, tensor.offset, tensor.bytes}, [&](std::span<const std::byte> part) -> Result<void> {
          hash.update(part);
          summary.bytes += part.size();
          if (on_progress && !on_progress(summary.bytes, total))
            return fail(ErrorCode::cancelled, "checking was cancelled");
          return {};
        }));
    ++summary.tensors;
    if (hash.digest() != *tensor.checksum) damaged.push_back(&tensor);
  }
  if (summary.tensors == 0) {
    return fail(ErrorCode::unsupported,
                "{}: has no checksums to compare with; packs do: moxie convert {} OUT --pack writes one", files.path,
                files.path);
  }
  MOXIE_TRY_VOID(bytes.check_unchanged());
  if (damaged.empty()) return summary;
  const auto names = expert_names(files);
  std::vector<std::string> listed;
  for (const TensorInfo* tensor : damaged) {
    const auto expert = names.find(tensor);
    listed.push_back(expert != names.end() ? expert->second : tensor->name);
  }
  return fail(ErrorCode::corrupt,
              "{}: the bytes of {} of {} tensors do not have their checksums: {}; copy the file again, or convert its "
              "source again",
              files.path, damaged.size(), summary.tensors, name_some(listed, kNamedMax));
}

}  // namespace moxie
