// What stands between a text and another, for models that were trained to fill gaps.
#include <array>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/fields.h"
#include "server/native_run.h"

namespace moxie::server::endpoints {
namespace {

struct GapForm {
  std::string_view prefix, suffix, middle;  // tokens; middle may be empty
  bool suffix_first = false;
  std::string_view repository, file;  // of further files; may be empty
};

constexpr auto kForms = std::to_array<GapForm>({
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", false, "<|repo_name|>", "<|file_sep|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", false, "<reponame>", "<filename>"},
    {"<|fim▁begin|>", "<|fim▁hole|>", "<|fim▁end|>", false, "", ""},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", false, "", ""},
    {"▁<PRE>", "▁<SUF>", "▁<MID>", false, "", ""},
    {"<PRE>", "<SUF>", "<MID>", false, "", ""},
    {"[PREFIX]", "[SUFFIX]", "", true, "", ""},
});

const GapForm* form_of(const Tokenizer& tokenizer) {
  for (const GapForm& form : kForms) {
    const bool there = tokenizer.find(form.prefix) >= 0 && tokenizer.find(form.suffix) >= 0 &&
                       (form.middle.empty() || tokenizer.find(form.middle) >= 0);
    if (there) return &form;
  }
  return nullptr;
}

struct Gap {
  std::string prefix, suffix, prompt;
  std::vector<std::pair<std::string, std::string>> files;  // name, text
};

Result<Gap> read_gap(const Json& body) {
  Gap gap;
  Fields fields(body);
  fields.text("input_prefix", gap.prefix);
  fields.text("input_suffix", gap.suffix);
  fields.text("prompt", gap.prompt);
  Json extra;
  fields.array("input_extra", extra);
  MOXIE_TRY_VOID(fields.done());
  if (body.find("input_prefix") == nullptr && body.find("input_suffix") == nullptr) {
    return fail(ErrorCode::invalid_argument, "'input_prefix' and 'input_suffix' are missing; give at least one");
  }
  if (extra.array() == nullptr) return gap;
  for (const Json& file : *extra.array()) {
    Fields inner(file, "input_extra.");
    std::string name, text;
    inner.text("filename", name);
    inner.text("text", text);
    MOXIE_TRY_VOID(inner.done());
    gap.files.emplace_back(std::move(name), std::move(text));
  }
  return gap;
}

std::vector<int32_t> gap_ids(const Tokenizer& tokenizer, const GapForm& form, const Gap& gap) {
  std::vector<int32_t> ids;
  const auto control = [&](std::string_view token) {
    if (const int32_t id = token.empty() ? -1 : tokenizer.find(token); id >= 0) ids.push_back(id);
  };
  // What the client's files hold stays text, whatever it looks like.
  const auto text = [&](std::string_view piece) {
    const auto more = tokenizer.encode(piece, {.continues = true});
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (tokenizer.adds_bos() && tokenizer.bos() >= 0) ids.push_back(tokenizer.bos());
  if (!gap.files.empty() && !form.repository.empty() && tokenizer.find(form.repository) >= 0) {
    control(form.repository);
    text("project\n");
  }
  for (const auto& [name, content] : gap.files) {
    control(form.file);
    text(name + "\n" + content + "\n");
  }
  if (!gap.files.empty()) control(form.file);
  if (form.suffix_first) {
    control(form.suffix);
    text(gap.suffix);
    control(form.prefix);
    text(gap.prefix + gap.prompt);
  } else {
    control(form.prefix);
    text(gap.prefix + gap.prompt);
    control(form.suffix);
    text(gap.suffix);
  }
  control(form.middle);
  return ids;
}

void handle(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) {
  const auto tokenizer = service->tokenizer();
  const GapForm* form = tokenizer.ok() ? form_of(**tokenizer) : nullptr;
  if (form == nullptr) {
    return exchange->respond(
        error_response(501, "this model has no tokens for filling gaps; take one that was trained for it"));
  }
  const auto body = body_json(exchange->request());
  if (!body.ok()) return exchange->respond(error_response({.error = body.error()}));
  const auto gap = read_gap(*body);
  if (!gap.ok()) return exchange->respond(error_response({.error = gap.error()}));
  PromptInputs prompts;
  prompts.prompts = {gap_ids(**tokenizer, *form, *gap)};
  auto request = read_completion(*service, *body, CompletionStyle::native, std::move(prompts));
  if (!request.ok()) return exchange->respond(error_response({.error = request.error()}));
  answer_native(service, exchange, *std::move(request));
}

}  // namespace

extern const EndpointEntry infill = {.name = "infill",
                                     .summary = "what stands between two texts (llama.cpp)",
                                     .method = "POST",
                                     .paths = "/infill",
                                     .handle = handle};

}  // namespace moxie::server::endpoints
