// A manifest in Ollama's store, which names the files that a model opens and that removing it deletes.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "hub/model_store.h"

using namespace moxie;
namespace fs = std::filesystem;

namespace {

// One folder for all inputs.
struct Store {
  fs::path root = fs::temp_directory_path() / ("moxie-ollama-fuzz-" + std::to_string(::getpid()));
  fs::path manifests = root / "manifests" / "registry.ollama.ai" / "library" / "m";

  Store() {
    fs::create_directories(manifests);
    fs::create_directories(root / "blobs");
    std::ofstream(manifests / "other") << R"({"layers":[]})";
  }
  ~Store() { fs::remove_all(root); }
};

bool is_below(const std::string& path, const fs::path& root) {
  return fs::path(path).lexically_normal().string().starts_with(root.string() + "/");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Store store;
  std::ofstream(store.manifests / "latest", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const StorePlaces places{.ollama = {store.root.string()}};
  if (const auto found = locate_model("ollama:m", places); found.ok()) MOXIE_CHECK(is_below(found->path, store.root));
  for (const StoredModel& model : list_stored_models(places)) MOXIE_CHECK(model.store == "ollama");
  for (const auto& removal : {plan_removal("ollama:m", places), plan_unused(places)}) {
    if (!removal.ok()) continue;
    for (const std::string& path : removal->paths) MOXIE_CHECK(is_below(path, store.root));
  }
  return 0;
}
