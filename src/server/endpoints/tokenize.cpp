// Text to token ids and back.
#include "core/fail.h"
#include "server/endpoint.h"
#include "server/fields.h"
#include "server/json_build.h"
#include "server/prompt_input.h"
#include "text/detokenizer.h"

namespace moxie::server::endpoints {
namespace {

// A piece as text, or as its bytes where it is no whole UTF-8.
Json piece_json(const std::string& bytes) {
  if (to_valid_utf8(bytes) == bytes) return Json{bytes};
  Json list = array();
  for (const char byte : bytes) push(list, static_cast<int>(static_cast<unsigned char>(byte)));
  return list;
}

Result<HttpResponse> to_ids(Service& service, const HttpRequest& request) {
  MOXIE_TRY(const Tokenizer* tokenizer, service.tokenizer());
  MOXIE_TRY(const Json body, body_json(request));
  Fields fields(body);
  std::string content;
  bool add_special = false, parse_special = true, with_pieces = false;
  fields.text("content", content);
  fields.flag("add_special", add_special);
  fields.flag("parse_special", parse_special);
  fields.flag("with_pieces", with_pieces);
  MOXIE_TRY_VOID(fields.done());
  Json tokens = array();
  for (const int32_t id : tokenizer->encode(content, {.add_special = add_special, .parse_special = parse_special})) {
    if (with_pieces) {
      push(tokens, object({{"id", id}, {"piece", piece_json(tokenizer->bytes(id, true))}}));
    } else {
      push(tokens, id);
    }
  }
  return json_response(object({{"tokens", std::move(tokens)}}));
}

Result<HttpResponse> to_text_of(Service& service, const HttpRequest& request) {
  MOXIE_TRY(const Tokenizer* tokenizer, service.tokenizer());
  MOXIE_TRY(const Json body, body_json(request));
  const Json* tokens = body.find("tokens");
  if (tokens == nullptr)
    return fail(ErrorCode::invalid_argument, "'tokens' is missing; it must be a list of token ids");
  MOXIE_TRY(const auto ids, read_ids(*tokens, "tokens", *tokenizer));
  return json_response(object({{"content", decode(*tokenizer, ids, {.with_special = true})}}));
}

}  // namespace

extern const EndpointEntry tokenize = {
    .name = "tokenize", .summary = "text to token ids", .method = "POST", .paths = "/tokenize", .answer = to_ids};

extern const EndpointEntry detokenize = {.name = "detokenize",
                                         .summary = "token ids to text",
                                         .method = "POST",
                                         .paths = "/detokenize",
                                         .answer = to_text_of};

}  // namespace moxie::server::endpoints
