#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/generate_options.h"
#include "cli/model_options.h"
#include "core/fail.h"

namespace moxie::cli::commands {
namespace {

// As JSON and messages want it: control characters shown, so that a piece stays on its line.
std::string shown(const std::string& piece) {
  std::string out;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

class Tokenize final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_header_flags(flags);
    prompt_.add_flags(flags, false);
    flags.group("output");
    flags.toggle("ids", ids_only_, true, "print the ids alone: 1,2,3");
    flags.toggle("json", json_);
    flags.toggle("add-bos", add_special_);
    flags.toggle("no-bos", add_special_, false);
    flags.toggle("parse-special", parse_special_);
    flags.toggle("no-parse-special", parse_special_, false);
  }

  Result<int> run() override {
    model_.engine.vocab_only = true;
    MOXIE_TRY(const auto engine, open_engine(model_));
    MOXIE_TRY(const std::string text, prompt_.read());
    MOXIE_TRY(const auto ids, engine->tokenize(text, add_special_, parse_special_));
    std::string out;
    if (json_) {
      nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
      for (const int32_t id : ids) pieces.push_back({{"id", id}, {"piece", engine->token_text(id)}});
      // A vocabulary may hold bytes that are no text.
      out = pieces.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    } else if (ids_only_) {
      out = fmt::format("{}\n", fmt::join(ids, ","));
    } else {
      for (const int32_t id : ids) out += fmt::format("{:>8} '{}'\n", id, shown(engine->token_text(id)));
    }
    MOXIE_TRY_VOID(print(out));
    return 0;
  }

 private:
  ModelOptions model_;
  PromptOptions prompt_;
  bool ids_only_ = false, json_ = false, add_special_ = true, parse_special_ = true;
};

}  // namespace

extern const CommandEntry tokenize = {
    .name = "tokenize",
    .summary = "show the tokens of a text",
    .usage = "[MODEL] (-p TEXT | -f FILE) [--ids]",
    .detail = "Pieces are shown as the vocabulary writes them.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Tokenize>(); },
};

}  // namespace moxie::cli::commands
