#include <nlohmann/json.hpp>
#include <optional>

#include "chat/chat_template.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/hub_model.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "convert/pack.h"
#include "core/fail.h"
#include "core/folder.h"
#include "engine/model_facts.h"

namespace moxie::cli::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownElements = 8, kShownBytes = 120;

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

template <typename T>
std::string array_text(const std::vector<T>& values) {
  std::string out = "[";
  for (size_t i = 0; i < std::min(values.size(), kShownElements); ++i) {
    if constexpr (std::is_same_v<T, std::string>) {
      out += fmt::format("{}\"{}\"", i > 0 ? ", " : "", values[i]);
    } else {
      out += fmt::format("{}{}", i > 0 ? ", " : "", static_cast<T>(values[i]));
    }
  }
  return out + (values.size() > kShownElements ? fmt::format(", ... {} in all]", values.size()) : "]");
}

// One line, however long and strange the value.
std::string metadata_text(const MetadataValue& value) {
  std::string text = std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return held;
        } else if constexpr (std::is_same_v<T, bool> || std::is_arithmetic_v<T>) {
          return fmt::format("{}", held);
        } else {
          return array_text(held);
        }
      },
      value);
  std::string line;
  for (const char c : text) {
    if (line.size() >= kShownBytes) {
      line += fmt::format("... {} bytes in all", text.size());
      break;
    }
    const auto byte = static_cast<unsigned char>(c);
    line += c == '\n'                     ? std::string("\\n")
            : byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte)
                                          : std::string(1, c);
  }
  return line;
}

Json metadata_json(const MetadataValue& value) {
  return std::visit([](const auto& held) { return Json(held); }, value);
}

std::string tokenizer_text(const TokenizerSource& source) {
  if (source.gguf) {
    const GgufVocabulary& vocabulary = *source.gguf;
    return fmt::format("{}{}, {} tokens", vocabulary.model, vocabulary.pre.empty() ? "" : " (" + vocabulary.pre + ")",
                       vocabulary.tokens.size());
  }
  std::string names;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tekken.json"}) {
    if (source.files.contains(name)) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names.empty() ? "none" : names;
}

// The template that a conversation uses: "tokenizer_config.json, 1234 bytes", and whether it can be used.
std::string template_line(const std::vector<ModelTemplate>& templates) {
  if (templates.empty()) return "none";
  std::string text = fmt::format("{}, {} bytes", templates[0].origin, templates[0].text.size());
  for (size_t i = 1; i < templates.size(); ++i) text += fmt::format("; variant {}", printable(templates[i].name));
  if (const auto chosen = ChatTemplate::choose(templates, {}); !chosen.ok()) {
    text += "; unusable: " + chosen.error().message;
  } else if (chosen->folds_system()) {
    text += "; no place for a system text";
  }
  return text;
}

class Inspect final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_header_flags(flags);
    flags.group("output");
    flags.toggle("tensors", tensors_);
    flags.toggle("experts", experts_);
    flags.toggle("metadata", metadata_);
    flags.toggle("json", json_);
    flags.group("checking");
    flags.toggle("verify", verify_, true, "read all of a pack and compare it with its checksums");
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(hub_.open(model_.positional.empty() ? model_.engine.model : model_.positional));
    MOXIE_TRY_VOID(settle(model_));
    MOXIE_TRY(const WeightFiles files, open_weights(model_.engine.model));
    if (verify_ && hub_.read_in_words()) {
      return fail(ErrorCode::unsupported, "{}: --verify reads everything: pull the model first", files.path);
    }
    if (verify_) MOXIE_TRY_VOID(verify(files));
    auto facts = read_model_facts(files, model_.engine.arch);
    if (facts.ok()) {
      facts_ = std::move(facts).value();
    } else {
      // What the file holds can be told whether or not it can be run.
      problem_ = facts.error().message;
    }
    MOXIE_TRY_VOID(
        print(json_ ? as_json(files).dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : as_text(files)));
    if (const auto read = hub_.read_in_words()) note(*read);
    return 0;
  }

 private:
  Result<void> verify(const WeightFiles& files) {
    const Interruption interruption;
    Progress progress("checking");
    auto verified = verify_checksums(files, [&](uint64_t done, uint64_t total) {
      progress.update(done, total);
      return !interruption.happened();
    });
    progress.clear();
    if (!verified.ok()) return std::move(verified).error();
    verified_ = *verified;
    return {};
  }

  std::string as_text(const WeightFiles& files) const {
    std::string out = summary(files);
    if (experts_ && facts_) out += "\n" + experts_text();
    if (tensors_) out += "\n" + tensors_text(files);
    if (metadata_) {
      out += "\n";
      for (const auto& [key, value] : files.metadata.all())
        out += fmt::format("  {} = {}\n", key, metadata_text(value));
    }
    return out;
  }

  std::string summary(const WeightFiles& files) const {
    uint64_t bytes = 0;
    for (const WeightPart& file : files.files) bytes += file.bytes;
    std::string out = files.path + "\n";
    const auto line = [&](std::string_view name, const std::string& value) {
      out += fmt::format("  {:<13} {}\n", name, value);
    };
    line("format", fmt::format("{}, {} file{}, {}, {} tensors", files.format, files.files.size(),
                               files.files.size() == 1 ? "" : "s", human_bytes(bytes), files.tensors.size()));
    if (facts_) {
      const ModelFacts& f = *facts_;
      if (!f.name.empty()) line("name", f.name);
      line("family", fmt::format("{} ({})", f.family, f.family_summary));
      line("parameters", f.active_parameters == f.parameters ? human_count(f.parameters)
                                                             : fmt::format("{}, {} active", human_count(f.parameters),
                                                                           human_count(f.active_parameters)));
      line("shape",
           fmt::format("{} layers, hidden {}, {} heads over {} of {}, vocabulary {}, context {}", f.layers.size(),
                       f.hidden, f.heads, f.kv_heads, f.head_dim, f.vocabulary, f.trained_context));
      if (f.experts > 0) {
        line("experts", fmt::format("{}, {} used for each token, FFN {}, stored {}", f.experts, f.experts_used,
                                    f.expert_ffn, f.expert_layout));
      } else {
        line("feed-forward", fmt::format("{}, no experts", f.ffn));
      }
    } else {
      line("family", "not usable: " + problem_);
    }
    line("tokenizer", tokenizer_text(files.tokenizer));
    line("template", template_line(model_templates(files.tokenizer)));
    if (verified_) {
      line("checksums", fmt::format("right: {} tensors, {}", verified_->tensors, human_bytes(verified_->bytes)));
    }
    for (const std::string& notice : facts_ ? facts_->notices : files.notices) line("note", notice);
    return out + "\n" + parts_text(files);
  }

  std::string parts_text(const WeightFiles& files) const {
    Table table({"part", ">bytes", "types"});
    const auto add = [&](const std::string& name, uint64_t bytes, const std::map<std::string, int64_t>& types) {
      std::string listed;
      for (const auto& [type, count] : types)
        listed += fmt::format("{}{} x {}", listed.empty() ? "" : ", ", count, type);
      table.row({name, human_bytes(bytes), listed});
    };
    if (facts_) {
      for (const PartFacts& part : facts_->parts) add(part.name, part.bytes, part.tensors_by_type);
    } else {
      std::map<std::string, int64_t> types;
      for (const TensorInfo& tensor : files.tensors) ++types[tensor.dtype];
      add("tensors", files.total_bytes(), types);
    }
    return table.text();
  }

  std::string experts_text() const {
    Table table({">layer", ">experts", ">one expert", ">all", "types"});
    for (size_t i = 0; i < facts_->layers.size(); ++i) {
      const LayerFacts& layer = facts_->layers[i];
      table.row({fmt::format("{}", i), fmt::format("{}", layer.mixture ? facts_->experts : 0),
                 human_bytes(layer.one_expert_bytes), human_bytes(layer.expert_bytes), layer.expert_types});
    }
    return table.text();
  }

  std::string tensors_text(const WeightFiles& files) const {
    Table table({"tensor", "type", "shape", ">bytes", "file", ">offset"});
    for (const TensorInfo& tensor : files.tensors) {
      table.row({tensor.name, tensor.dtype, shape_text(tensor.shape), fmt::format("{}", tensor.bytes),
                 file_name(files.files[static_cast<size_t>(tensor.file)].path), fmt::format("{}", tensor.offset)});
    }
    return table.text();
  }

  Json as_json(const WeightFiles& files) const {
    Json object = {{"model", files.path}, {"format", files.format}};
    for (const WeightPart& file : files.files) object["files"].push_back({{"path", file.path}, {"bytes", file.bytes}});
    object["tensor_count"] = files.tensors.size();
    object["tensor_bytes"] = files.total_bytes();
    if (facts_) {
      add_facts(object, *facts_);
    } else {
      object["problem"] = problem_;
    }
    object["tokenizer"] = tokenizer_text(files.tokenizer);
    const std::vector<ModelTemplate> templates = model_templates(files.tokenizer);
    object["chat_template_bytes"] = templates.empty() ? 0 : templates[0].text.size();
    object["chat_template_source"] = templates.empty() ? "" : templates[0].origin;
    if (verified_) object["verified"] = {{"tensors", verified_->tensors}, {"bytes", verified_->bytes}};
    object["notices"] = files.notices;
    if (experts_ && facts_) {
      for (const LayerFacts& layer : facts_->layers) {
        object["layers"].push_back({{"experts", layer.mixture ? facts_->experts : 0},
                                    {"one_expert_bytes", layer.one_expert_bytes},
                                    {"expert_bytes", layer.expert_bytes},
                                    {"expert_types", layer.expert_types}});
      }
    }
    if (tensors_) {
      for (const TensorInfo& tensor : files.tensors) {
        object["tensors"].push_back({{"name", tensor.name},
                                     {"type", tensor.dtype},
                                     {"shape", tensor.shape},
                                     {"bytes", tensor.bytes},
                                     {"file", tensor.file},
                                     {"file_name", file_name(files.files[static_cast<size_t>(tensor.file)].path)},
                                     {"offset", tensor.offset}});
      }
    }
    if (metadata_) {
      for (const auto& [key, value] : files.metadata.all()) object["metadata"][key] = metadata_json(value);
    }
    return object;
  }

  static void add_facts(Json& object, const ModelFacts& f) {
    object["name"] = f.name;
    object["family"] = f.family;
    object["parameters"] = f.parameters;
    object["active_parameters"] = f.active_parameters;
    object["layer_count"] = f.layers.size();
    object["hidden"] = f.hidden;
    object["heads"] = f.heads;
    object["kv_heads"] = f.kv_heads;
    object["head_dim"] = f.head_dim;
    object["vocabulary"] = f.vocabulary;
    object["trained_context"] = f.trained_context;
    object["experts"] = f.experts;
    object["experts_used"] = f.experts_used;
    object["expert_layout"] = f.expert_layout;
    object["active_bytes_per_token"] = f.active_bytes_per_token;
    for (const PartFacts& part : f.parts)
      object["parts"][part.name] = {{"bytes", part.bytes}, {"types", part.tensors_by_type}};
  }

  RemoteModel hub_;  // before what reads its files
  ModelOptions model_;
  bool tensors_ = false, experts_ = false, metadata_ = false, json_ = false, verify_ = false;
  std::optional<VerifySummary> verified_;
  std::optional<ModelFacts> facts_;
  std::string problem_;
};

}  // namespace

extern const CommandEntry inspect = {
    .name = "inspect",
    .summary = "show what a model file holds: family, shape, types, experts, tokenizer",
    .usage = "[MODEL] [--tensors] [--experts] [--metadata] [--json] [--verify]",
    .detail =
        "Reads headers only, so that a large file answers at once; --verify alone reads everything. MODEL may be "
        "hf:ORG/NAME[@REVISION][:FILE]:\nof what is not on this machine the headers are read over the network.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Inspect>(); },
};

}  // namespace moxie::cli::commands
