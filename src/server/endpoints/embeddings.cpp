// Vectors that stand for texts: states after the last layer, normalised.
#include <bit>
#include <cmath>
#include <cstring>

#include "core/fail.h"
#include "server/answer_run.h"
#include "server/base64.h"
#include "server/endpoint.h"
#include "server/fields.h"
#include "server/json_build.h"
#include "server/prompt_input.h"

namespace moxie::server::endpoints {
namespace {

struct EmbeddingRequest {
  std::vector<std::vector<int32_t>> inputs;
  bool base64 = false;
  Pooling pooling = Pooling::last;
};

class EmbeddingRun final : public AnswerRun {
 public:
  EmbeddingRun(const ServiceLease& service, std::shared_ptr<HttpExchange> exchange, const EmbeddingRequest& request)
      : AnswerRun(service, std::move(exchange), false), base64_(request.base64), vectors_(request.inputs.size()) {}

 private:
  void begin(std::string&) override {}
  void token(size_t, const TokenStep&, std::string&) override {}
  void ended(size_t, std::string&) override {}

  void embedding(size_t index, std::span<const float> vector) override {
    double squares = 0;
    for (const float value : vector) squares += static_cast<double>(value) * value;
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    vectors_[index].assign(vector.begin(), vector.end());
    for (float& value : vectors_[index]) value = static_cast<float>(value * scale);
  }

  Json vector_json(const std::vector<float>& vector) const {
    if (!base64_) {
      Json list = array();
      for (const float value : vector) push(list, static_cast<double>(value));
      return list;
    }
    static_assert(std::endian::native == std::endian::little, "the encoding wants little-endian floats");
    return Json{base64({reinterpret_cast<const uint8_t*>(vector.data()), vector.size() * sizeof(float)})};
  }

  void finish(std::string& out) override {
    Json data = array();
    for (size_t i = 0; i < vectors_.size(); ++i) {
      push(data, object({{"object", "embedding"}, {"index", i}, {"embedding", vector_json(vectors_[i])}}));
    }
    const int64_t tokens = timings().prompt_tokens;
    out = to_text(object({{"object", "list"},
                          {"data", std::move(data)},
                          {"model", service().model_id},
                          {"usage", object({{"prompt_tokens", tokens}, {"total_tokens", tokens}})}}));
  }

  void fail_stream(const Error&, std::string&) override {}
  HttpResponse fail_response(const RequestError& error) override { return error_response(error); }

  const bool base64_;
  std::vector<std::vector<float>> vectors_;
};

Result<EmbeddingRequest> read(const Service& service, const Json& body) {
  MOXIE_TRY(const Tokenizer* tokenizer, service.tokenizer());
  Fields fields(body);
  EmbeddingRequest request;
  std::string model, format = "float", pooling = "last";
  fields.text("model", model);
  fields.text("encoding_format", format);
  fields.text("pooling", pooling);
  int64_t dimensions = service.engine.model().hidden;
  fields.integer("dimensions", dimensions, 1, std::numeric_limits<int64_t>::max());
  MOXIE_TRY_VOID(fields.done());
  if (format != "float" && format != "base64") {
    return fail(ErrorCode::invalid_argument, "'encoding_format' is {}; it must be float or base64",
                shown(Json{format}));
  }
  if (pooling != "last" && pooling != "mean") {
    return fail(ErrorCode::invalid_argument, "'pooling' is {}; it must be last or mean", shown(Json{pooling}));
  }
  if (dimensions != service.engine.model().hidden) {
    return fail(ErrorCode::invalid_argument, "'dimensions' is {}; vectors of this model have {}", dimensions,
                service.engine.model().hidden);
  }
  MOXIE_TRY_VOID(service.check_model(model));
  const Json* input = fields.find("input");
  const bool is_content = input == nullptr && fields.find("content") != nullptr;
  MOXIE_TRY(auto inputs,
            read_prompts(is_content ? fields.find("content") : input, is_content ? "content" : "input", *tokenizer));
  request.inputs = std::move(inputs.prompts);
  request.base64 = format == "base64";
  request.pooling = pooling == "mean" ? Pooling::mean : Pooling::last;
  return request;
}

void handle(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) {
  const auto body = body_json(exchange->request());
  if (!body.ok()) return exchange->respond(error_response({.error = body.error()}));
  const auto request = read(*service, *body);
  if (!request.ok()) return exchange->respond(error_response({.error = request.error()}));
  std::vector<GenerateRequest> generations;
  for (const auto& ids : request->inputs) {
    if (const auto too_long = service->check_length(ids.size())) return exchange->respond(error_response(*too_long));
    GenerateRequest one;
    one.prompt = ids;
    one.pooling = request->pooling;
    one.cache_prompt = false;
    one.id = exchange->request().id;
    generations.push_back(std::move(one));
  }
  std::make_shared<EmbeddingRun>(service, exchange, *request)->start(std::move(generations));
}

}  // namespace

extern const EndpointEntry embeddings = {.name = "embeddings",
                                         .summary = "vectors that stand for texts (OpenAI)",
                                         .method = "POST",
                                         .paths = "/v1/embeddings /embeddings /embedding",
                                         .handle = handle};

}  // namespace moxie::server::endpoints
