#include <algorithm>

#include "core/cpu_info.h"
#include "core/fail.h"
#include "engine/engine_impl.h"
#include "format/weight_file.h"

namespace moxie {
namespace {

constexpr int64_t kDefaultContext = 4096;
constexpr int64_t kMaxContext = int64_t{1} << 24;  // positions beyond lose precision as float; no model comes near

Severity severity(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return Severity::debug;
    case LogLevel::info: return Severity::info;
    case LogLevel::warning: return Severity::warning;
  }
  return Severity::info;
}

LogSink sink_of(const EngineOptions& options) {
  if (!options.on_log) return {};
  return [call = options.on_log](LogLevel level, std::string_view text) { call(severity(level), text); };
}

Result<KvType> parse_kv_type(const std::string& name) {
  if (name == "f32") return KvType::f32;
  if (name == "f16") return KvType::f16;
  if (name == "q8_0") return KvType::q8_0;
  return fail(ErrorCode::invalid_argument, "cache type '{}' is not known; take f32, f16 or q8_0", name);
}

}  // namespace

Engine::Impl::Impl(EngineOptions opts) : options(std::move(opts)), log(sink_of(options)) {}

Result<void> Engine::Impl::load_tokenizer(const WeightFiles& files) {
  if (files.tokenizer.empty()) {
    tokenizer_error = fail(ErrorCode::unsupported, "{}: carries no tokenizer; give token ids instead of text", files.path);
    return {};
  }
  auto created = Tokenizer::create(files.tokenizer);
  if (!created.ok()) {
    if (options.vocab_only) return std::move(created).error();
    tokenizer_error = created.error();
    log.notice(fmt::format("the tokenizer cannot be used: {}", tokenizer_error.message));
    return {};
  }
  tokenizer = std::move(created).value();
  for (const std::string& notice : tokenizer->notices()) log.notice(notice);
  end_ids.assign(tokenizer->end_ids().begin(), tokenizer->end_ids().end());
  return {};
}

Result<void> Engine::Impl::choose_context() {
  const int64_t trained = model->hp().trained_context;
  int64_t context = options.ctx_size;
  if (context > kMaxContext) {
    return fail(ErrorCode::invalid_argument, "a context of {} tokens is too large; the limit is {}", context, kMaxContext);
  }
  if (context < 0) context = trained > 0 ? std::min(trained, kDefaultContext) : kDefaultContext;
  if (context == 0) context = trained > 0 ? trained : kDefaultContext;
  if (trained > 0 && context > trained) {
    log.notice(fmt::format("the context of {} tokens is longer than the {} the model was trained for; quality falls beyond them", context,
                           trained));
  }
  runtime.context_tokens = context;
  return {};
}

void Engine::Impl::describe(const WeightFiles& files, const ModelPlan& plan) {
  model_info = {.path = files.path,
                .format = files.format,
                .family = std::string(plan.family->name),
                .name = plan.hp.name,
                .layers = plan.hp.layers,
                .hidden = plan.hp.hidden,
                .vocabulary = plan.hp.vocabulary,
                .experts = plan.hp.router.experts,
                .experts_used = plan.hp.router.used,
                .trained_context = plan.hp.trained_context,
                .parameters = plan.parameters,
                .weight_bytes = plan.dense_bytes + plan.expert_bytes,
                .active_bytes_per_token = plan.active_bytes_per_token};
}

Result<void> Engine::Impl::load() {
  MOXIE_TRY(const WeightFiles files, open_weights(options.model));
  MOXIE_TRY_VOID(load_tokenizer(files));
  if (const auto found = files.tokenizer.chat_templates.find(""); found != files.tokenizer.chat_templates.end()) {
    model_info.chat_template = found->second;
  }
  if (options.vocab_only) {
    model_info.path = files.path;
    model_info.format = files.format;
    return {};
  }
  if (options.batch_size < 1 || options.ubatch_size < 1) {
    return fail(ErrorCode::invalid_argument, "batch sizes must be positive; found {} and {}", options.batch_size, options.ubatch_size);
  }
  MOXIE_TRY(ModelPlan plan, plan_model(files, options.arch, log));
  std::string chat_template = std::move(model_info.chat_template);
  describe(files, plan);
  model_info.chat_template = std::move(chat_template);

  MOXIE_TRY(const CpuTarget* target, select_cpu_target(options.cpu_target));
  const CpuInfo cpu = read_cpu_info();
  runtime.cpu_target = std::string(target->name);
  runtime.threads = options.threads > 0 ? options.threads : cpu.threads;
  runtime.threads_why = options.threads > 0 ? fmt::format("{} threads as asked", options.threads) : cpu.explanation;
  if (options.threads > cpu.threads) {
    log.notice(fmt::format("{} threads were asked for, but {}; more threads than that make it slower", options.threads, cpu.explanation));
  }
  backend = std::make_unique<CpuBackend>(*target, runtime.threads);

  MOXIE_TRY(const KvType kv_type, parse_kv_type(options.cache_type));
  if (kv_type == KvType::q8_0 && plan.hp.head_dim % 32 != 0) {
    return fail(ErrorCode::unsupported, "cache type q8_0 needs a head size that is a multiple of 32; this model's is {}; take f16",
                plan.hp.head_dim);
  }
  const KvLayout layout = {.type = kv_type, .layers = plan.hp.layers, .kv_heads = plan.hp.kv_heads, .head_dim = plan.hp.head_dim};
  kv_pool = std::make_unique<KvPool>(layout);
  runtime.kv_bytes_per_token = layout.block_bytes() / KvLayout::kBlockTokens;

  MOXIE_TRY(model, Model::load(files, std::move(plan),
                               {.cpu_target = target->name, .mmap = options.mmap, .on_progress = options.on_progress}));
  MOXIE_TRY_VOID(choose_context());
  MOXIE_TRY(workspace, Workspace::create(model->hp(), std::min({options.ubatch_size, options.batch_size, runtime.context_tokens}),
                                         options.ubatch_size));
  logits.resize(static_cast<size_t>(kLogitRows * model->hp().vocabulary));
  return {};
}

Result<void> Engine::Impl::compute(SequenceState& state, std::span<const int32_t> ids, std::vector<float>* last,
                                   const std::function<void(int64_t, std::span<const float>)>* each, const std::atomic<bool>* stop,
                                   std::vector<int32_t>* trace) {
  const int64_t count = static_cast<int64_t>(ids.size());
  const int64_t vocabulary = model->hp().vocabulary;
  MOXIE_TRY_VOID(state.reserve(count));
  const BatchSegment segment{&state, ids};
  ForwardPass pass(*model, *backend, workspace, {&segment, 1}, stop);
  if (trace != nullptr) trace->clear();
  pass.trace = trace;
  model->family().forward(pass);
  if (pass.stopped()) return pass.error;

  const int64_t first_position = state.tokens();
  state.commit(count);
  if (last == nullptr && each == nullptr) return {};
  const Matrix& output = model->matrix(Role::output);
  for (int64_t row = each != nullptr ? 0 : count - 1; row < count; row += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, count - row);
    logits_acts.set(workspace.normed + row * model->hp().hidden, rows, model->hp().hidden);
    const MatmulJob job = {.weights = &output, .x = &logits_acts, .rows = rows, .out = logits.data(), .out_stride = vocabulary};
    backend->matmul({&job, 1});
    for (int64_t i = 0; each != nullptr && i < rows; ++i) {
      (*each)(first_position + row + i, {logits.data() + i * vocabulary, static_cast<size_t>(vocabulary)});
    }
    if (row + rows == count && last != nullptr) {
      const float* begin = logits.data() + (rows - 1) * vocabulary;
      last->assign(begin, begin + vocabulary);
    }
  }
  return {};
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  MOXIE_TRY_VOID(impl->load());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const ModelInfo& Engine::model() const { return impl_->model_info; }
const RuntimeInfo& Engine::runtime() const { return impl_->runtime; }
std::vector<std::string> Engine::notices() const { return impl_->log.notices(); }
bool Engine::has_tokenizer() const { return impl_->tokenizer != nullptr; }
std::span<const int32_t> Engine::end_ids() const { return impl_->end_ids; }
int32_t Engine::bos() const { return impl_->tokenizer ? impl_->tokenizer->bos() : -1; }
bool Engine::adds_bos() const { return impl_->tokenizer && impl_->tokenizer->adds_bos(); }

Result<std::vector<int32_t>> Engine::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  if (!impl_->tokenizer) return impl_->tokenizer_error;
  return impl_->tokenizer->encode(text, {.add_special = add_special, .parse_special = parse_special});
}

std::string Engine::detokenize(std::span<const int32_t> ids, bool special) const {
  std::string text;
  if (!impl_->tokenizer) return text;
  for (const int32_t id : ids) {
    if (id >= 0 && id < impl_->tokenizer->vocabulary_size()) text += impl_->tokenizer->bytes(id, special);
  }
  if (impl_->tokenizer->strips_leading_space() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string Engine::token_text(int32_t id) const {
  if (!impl_->tokenizer || id < 0 || id >= impl_->tokenizer->vocabulary_size()) return {};
  return impl_->tokenizer->text(id);
}

}  // namespace moxie
