#include "doctor/verify_files.h"

#include "core/fail.h"
#include "hub/known_digest.h"

namespace moxie {

Result<void> verify_files(const WeightFiles& files, const std::function<bool(uint64_t done, uint64_t total)>& progress,
                          Findings& findings) {
  uint64_t total = 0, done = 0;
  for (const WeightPart& part : files.files) total += part.bytes;
  const auto more = [&](uint64_t bytes) {
    done += bytes;
    return !progress || progress(done, total);
  };
  int unknown = 0;
  for (const WeightPart& part : files.files) {
    const std::optional<KnownDigest> known = known_digest(part.path);
    if (!known) {
      ++unknown;
      continue;
    }
    MOXIE_TRY(const std::string found, digest_of_file(part.path, known->kind, more));
    if (found == known->hex) continue;
    findings.add({.code = "hash-differs", .found = found, .expected = known->hex},
                 fmt::format("{}: its bytes hash to {}, but {} says {}", part.path, found, known->source, known->hex));
  }
  if (unknown > 0) {
    findings.add(
        {.code = "hash-unknown", .found = fmt::format("{} of {} files without one", unknown, files.files.size())});
  }
  return {};
}

}  // namespace moxie
