#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/table.h"
#include "core/fail.h"
#include "core/folder.h"
#include "doctor/list_models.h"

namespace moxie::cli::commands {
namespace {

class List final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("FOLDER", folder_, "look here and below, instead of in the stores");
    flags.group("output");
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    std::vector<StoredModel> stored;
    if (folder_.empty()) {
      stored = list_stored_models(environment_places());
    } else {
      if (!is_folder(folder_)) return fail(ErrorCode::not_found, "{}: is no folder", folder_);
      stored = list_folder_models(folder_);
    }
    const std::vector<ListedModel> models = examine_models(stored);
    MOXIE_TRY_VOID(print(json_ ? as_json(models) : as_text(models)));
    return 0;
  }

 private:
  std::string as_text(const std::vector<ListedModel>& models) const {
    if (models.empty())
      return folder_.empty() ? "no models in " + places_text() + "\n" : "no models in " + folder_ + "\n";
    Table table({"model", "family", "types", ">size", "loads"});
    for (const ListedModel& model : models) {
      table.row({model.stored.reference, model.report.family, model.report.types, human_bytes(model.stored.bytes),
                 model.loads() ? "yes" : "no: " + model.why_not()});
    }
    return table.text();
  }

  static std::string places_text() {
    const StorePlaces places = environment_places();
    std::string out = places.hugging_face;
    for (const auto* folders : {&places.ollama, &places.lm_studio, &places.llama_cpp, &places.quantized}) {
      for (const std::string& folder : *folders) out += ", " + folder;
    }
    return out;
  }

  static std::string as_json(const std::vector<ListedModel>& models) {
    using Json = nlohmann::ordered_json;
    Json list = Json::array();
    for (const ListedModel& model : models) {
      list.push_back({{"model", model.stored.reference},
                      {"store", model.stored.store},
                      {"path", model.stored.path},
                      {"bytes", model.stored.bytes},
                      {"format", model.report.format},
                      {"family", model.report.family},
                      {"types", model.report.types},
                      {"loads", model.loads()},
                      {"problem", model.why_not()}});
    }
    return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }

  std::string folder_;
  bool json_ = false;
};

}  // namespace

extern const CommandEntry list = {
    .name = "list",
    .summary = "show the models on this machine, where they are, and whether they will load",
    .usage = "[FOLDER] [--json]",
    .detail =
        "Looks in the caches of Hugging Face and llama.cpp and in the stores of Ollama and LM Studio, wherever "
        "their variables (HF_HUB_CACHE, OLLAMA_MODELS, LLAMA_CACHE) say, and at what --quantize-cache kept. The first column is what `moxie run` "
        "takes. Reads headers only.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<List>(); },
};

}  // namespace moxie::cli::commands
