// The prompt that a conversation becomes, without an answer.
#include "core/fail.h"
#include "server/chat_run.h"
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/wire_openai_chat.h"

namespace moxie::server::endpoints {
namespace {

Result<HttpResponse> answer(Service& service, const HttpRequest& request) {
  MOXIE_TRY(const Json body, body_json(request));
  MOXIE_TRY(const PreparedChat chat, prepare_chat(service, body, openai_chat));
  return json_response(object({{"prompt", chat.prompt.text}, {"tokens", chat.prompt.ids.size()}}));
}

}  // namespace

extern const EndpointEntry apply_template = {
    .name = "apply_template",
    .summary = "the prompt that a conversation becomes",
    .method = "POST",
    .paths = "/apply-template",
    .answer = answer,
};

}  // namespace moxie::server::endpoints
