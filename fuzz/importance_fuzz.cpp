// Importance matrices of both forms: what is read has sums that belong to its counts, and comes back from a file.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "convert/importance.h"
#include "core/check.h"

using namespace moxie;
namespace fs = std::filesystem;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fs::path folder = fs::temp_directory_path() / ("moxie-importance-fuzz-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string path = (folder / "input").string();
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto matrix = read_importance(path);
  if (matrix.ok()) {
    for (const auto& [name, entry] : matrix->entries) {
      const size_t columns = entry.sums.size() / entry.counts.size();
      const auto weights =
          matrix->weights(name, static_cast<int64_t>(entry.counts.size()), static_cast<int64_t>(columns));
      MOXIE_CHECK(!weights.ok() || weights->size() == entry.sums.size());
      (void)matrix->weights(name + "_exps.weight", 8, static_cast<int64_t>(columns));
    }
    ImportanceMatrix twice = *matrix;
    MOXIE_CHECK(twice.add(*matrix).ok());
  }
  fs::remove_all(folder);
  return 0;
}
