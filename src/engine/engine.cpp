#include <algorithm>
#include <chrono>

#include "core/cpu_info.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/memory_info.h"
#include "core/printable.h"
#include "engine/context_length.h"
#include "engine/engine_impl.h"
#include "engine/memory_budget.h"
#include "engine/memory_ledger.h"
#include "engine/observed_step.h"
#include "engine/quantize_opened.h"
#include "format/weight_file.h"

namespace moxie {
namespace {

constexpr int64_t kMaxContext = int64_t{1} << 24;  // positions beyond lose precision as float; no model comes near

Severity severity(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return Severity::debug;
    case LogLevel::info:
      return Severity::info;
    case LogLevel::warning:
      return Severity::warning;
  }
  return Severity::info;
}

LogSink sink_of(const EngineOptions& options) {
  if (!options.on_log) return {};
  return [call = options.on_log](LogLevel level, std::string_view text) { call(severity(level), text); };
}

enum class LookaheadMode : uint8_t { off, on, automatic };

Result<LookaheadMode> parse_lookahead(const std::string& name) {
  if (name == "off") return LookaheadMode::off;
  if (name == "on") return LookaheadMode::on;
  if (name == "auto") return LookaheadMode::automatic;
  return fail(ErrorCode::invalid_argument, "lookahead '{}' is not known; take off, on or auto", name);
}

Result<const PolicyEntry*> parse_policy(const std::string& name) {
  if (const PolicyEntry* policy = find_policy(name)) return policy;
  return fail(ErrorCode::invalid_argument, "policy '{}' is not known; there are {}", name, policy_names());
}

Result<DiskReaderOptions> reader_options(const EngineOptions& options) {
  DiskReaderOptions reader = {.direct = options.direct_io, .depth = options.io_depth};
  if (options.io_backend == "io_uring") {
    reader.backend = DiskReaderOptions::Backend::io_uring;
  } else if (options.io_backend == "threads") {
    reader.backend = DiskReaderOptions::Backend::threads;
  } else if (options.io_backend != "auto") {
    return fail(ErrorCode::invalid_argument, "io backend '{}' is not known; take io_uring, threads or auto",
                options.io_backend);
  }
  if (options.io_piece < 0 || options.io_depth < 0) {
    return fail(ErrorCode::invalid_argument, "reads of {} bytes, {} at once: neither can be negative", options.io_piece,
                options.io_depth);
  }
  reader.piece_bytes = static_cast<uint64_t>(options.io_piece);
  return reader;
}

// One line at the start: what is kept, and why not all.
void describe_streaming(const MemoryLedger& ledger, const MemoryBudget& budget, const ModelPlan& plan, Log& log) {
  log.notice(fmt::format(
      "{} of {} experts per layer are kept in memory ({} of {}, budget {}); the others are read when they are wanted",
      fmt::format("{:.1f}", ledger.pool.kept_per_layer()), plan.hp.router.experts, human_bytes(ledger.expert_bytes),
      human_bytes(plan.expert_bytes), budget.explanation));
  if (ledger.pool.streaming_layers > 0) {
    log.notice(fmt::format(
        "{} layers keep none of their experts: the budget holds {} in all, and a layer needs {}; more memory makes "
        "them faster",
        ledger.pool.streaming_layers,
        static_cast<int64_t>(ledger.pool.kept_per_layer() * static_cast<double>(plan.hp.layers)), plan.hp.router.used));
  }
}

// What the last token of a step chose, layer after layer.
class LastChoice final : public RoutingObserver {
 public:
  LastChoice(std::vector<int32_t>* ids, int64_t used) : used_(used), ids_(ids) {
    if (ids_ != nullptr) ids_->clear();
  }
  void on_choice(const Choice& choice) override {
    if (ids_ == nullptr) return;
    const int32_t* last = choice.ids + (choice.tokens - 1) * choice.used;
    ids_->insert(ids_->end(), last, last + choice.used);
    ids_->insert(ids_->end(), static_cast<size_t>(used_ - choice.used), -1);
  }

 private:
  int64_t used_;
  std::vector<int32_t>* ids_;
};

void add_lossy(const LossyRouting& lossy, ExpertStats& stats) {
  const auto share = [&](const LossyCounts& counts) { return lossy.weight() > 0 ? counts.weight / lossy.weight() : 0; };
  stats.mode = lossy.name();
  stats.lossy_accesses = lossy.choices();
  stats.lossy_changed = lossy.total().changed;
  stats.lossy_weight_share = share(lossy.total());
  for (size_t i = 0; i < kLossyModes; ++i) {
    const auto mode = static_cast<LossyMode>(i);
    if (!lossy.enabled(mode)) continue;
    const LossyCounts& counts = lossy.counts(mode);
    stats.lossy_modes.push_back(
        {.mode = std::string(LossyRouting::mode_name(mode)), .changed = counts.changed, .weight_share = share(counts)});
  }
}

}  // namespace

Engine::Impl::Impl(EngineOptions opts) : options(std::move(opts)), log(sink_of(options)), observers(1, nullptr) {}

Engine::Impl::~Impl() {
  if (recorder != nullptr) say_if_failed(recorder->finish());
  if (warm != nullptr && warm->is_stale()) save_warm_state();
}

// What goes wrong beside the computing does not end it.
void Engine::Impl::say_if_failed(const Result<void>& result) {
  if (!result.ok()) log.notice(result.error().message);
}

std::shared_ptr<const grammar::TokenTrie> Engine::Impl::make_token_trie() const {
  std::vector<std::string> texts(static_cast<size_t>(model->hp().vocabulary));
  for (int32_t id = 0; id < std::min(static_cast<int32_t>(texts.size()), tokenizer->vocabulary_size()); ++id) {
    const TokenKind kind = tokenizer->kind(id);
    // What stands for no text of its own is never part of a constrained answer.
    if (kind == TokenKind::unknown || kind == TokenKind::control || kind == TokenKind::unused) continue;
    texts[static_cast<size_t>(id)] = tokenizer->bytes(id);
  }
  return std::make_shared<const grammar::TokenTrie>(std::move(texts), end_ids);
}

Result<void> Engine::Impl::load_tokenizer(const WeightFiles& files) {
  if (files.tokenizer.empty()) {
    tokenizer_error =
        fail(ErrorCode::unsupported, "{}: carries no tokenizer; give token ids instead of text", files.path);
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

Result<void> Engine::Impl::choose_context(const Hyperparameters& hp) {
  const int64_t trained = hp.trained_context;
  int64_t context = options.ctx_size;
  if (context > kMaxContext) {
    return fail(ErrorCode::invalid_argument, "a context of {} tokens is too large; the limit is {}", context,
                kMaxContext);
  }
  context = context_length(context, trained);
  if (trained > 0 && context > trained) {
    log.notice(fmt::format(
        "the context of {} tokens is longer than the {} the model was trained for; quality falls beyond them", context,
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
                .active_bytes_per_token = plan.active_bytes_per_token,
                .integer_products = plan.integer_products,
                .float_products = plan.float_products,
                .bf16_products = plan.bf16_products,
                .attention_products =
                    2 * static_cast<uint64_t>(plan.hp.layers * plan.hp.heads * plan.hp.head_dim),  // keys, values
                .output_integer_products = plan.output_integer_products,
                .output_float_products = plan.output_float_products,
                .output_bf16_products = plan.output_bf16_products,
                .output_attention_products = 2 * static_cast<uint64_t>(plan.hp.heads * plan.hp.head_dim)};
}

// Puts the quantized weights in place of `files`, where they are floats.
Result<void> Engine::Impl::quantize(WeightFiles& files) {
  constexpr const char* kTemporary = "/var/tmp";  // on a disk, where /tmp may be memory
  if (options.quantize_cache && options.cache_folder.empty()) {
    return fail(ErrorCode::invalid_argument, "there is no cache folder to keep quantized weights in; name one");
  }
  const QuantizeRequest request = {
      .type = options.quantize,
      .arch = options.arch,
      .folder = options.cache_folder.empty() ? kTemporary : join_path(options.cache_folder, "quantized"),
      .keep = options.quantize_cache,
      .threads = options.threads > 0 ? options.threads : read_cpu_info().threads,
      .on_progress = options.on_progress};
  MOXIE_TRY(std::optional<QuantizedWeights> weights, quantize_opened(files, request, log));
  if (!weights) return {};
  files = std::move(weights->files);
  if (weights->file) quantized.emplace(std::move(*weights->file));
  return {};
}

Result<void> Engine::Impl::load() {
  MOXIE_TRY(lossy, LossyRouting::create(options));
  MOXIE_TRY(WeightFiles files, open_weights(options.model));
  for (const WeightPart& part : files.files) weight_paths.push_back(part.path);
  if (!options.quantize.empty() && !options.vocab_only) MOXIE_TRY_VOID(quantize(files));
  MOXIE_TRY_VOID(load_tokenizer(files));
  chat_templates = model_templates(files.tokenizer);
  if (!chat_templates.empty()) model_info.chat_template = chat_templates[0].text;
  if (options.vocab_only) {
    model_info.path = files.path;
    model_info.format = files.format;
    return {};
  }
  if (options.batch_size < 1 || options.ubatch_size < 1) {
    return fail(ErrorCode::invalid_argument, "batch sizes must be positive; found {} and {}", options.batch_size,
                options.ubatch_size);
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
    log.notice(fmt::format("{} threads were asked for, but {}; more threads than that make it slower", options.threads,
                           cpu.explanation));
  }
  log.write(LogLevel::info, runtime.threads_why);
  backend = std::make_unique<CpuBackend>(*target, runtime.threads);

  MOXIE_TRY(const KvType kv_type, parse_cache_type(options.cache_type, plan.hp));
  const KvLayout layout = {
      .type = kv_type, .layers = plan.hp.layers, .kv_heads = plan.hp.kv_heads, .head_dim = plan.hp.head_dim};
  kv_pool = std::make_unique<KvPool>(layout);
  runtime.kv_bytes_per_token = layout.block_bytes() / KvLayout::kBlockTokens;

  MOXIE_TRY_VOID(choose_context(plan.hp));
  MOXIE_TRY_VOID(load_model(files, std::move(plan), *target, kv_type));
  logits.resize(static_cast<size_t>(kLogitRows * model->hp().vocabulary));
  if (lossy != nullptr) {
    log.notice(
        fmt::format("{} is lossy: generated tokens do without experts that the router chose, and the text depends on "
                    "what is in memory",
                    lossy->name()));
  }
  return {};
}

// Decides where every byte goes, then loads: mapped where all fits, else dense weights read and experts streamed.
Result<void> Engine::Impl::load_model(const WeightFiles& files, ModelPlan plan, const CpuTarget& target,
                                      KvType kv_type) {
  if (options.expert_slots < -1) {
    return fail(ErrorCode::invalid_argument, "{} experts per layer are none; give 0 or more", options.expert_slots);
  }
  MOXIE_TRY(DiskReaderOptions reader, reader_options(options));
  if (adjust_reader) adjust_reader(reader);
  std::vector<std::string> paths;
  for (const WeightPart& part : files.files) paths.push_back(part.path);
  MOXIE_TRY(const uint64_t alignment, DiskReader::alignment_of(paths, reader));

  const MemoryInfo machine = read_memory_info();
  MOXIE_TRY(const MemoryBudget budget, parse_memory(options.memory, machine));
  const LedgerSettings settings = {
      .budget_bytes = budget.bytes,
      .all_resident = budget.kind == MemoryBudget::Kind::everything,
      .expert_slots = options.expert_slots,
      .mmap = options.mmap && options.expert_slots < 0 && !options.verify,
      .context_tokens = runtime.context_tokens,
      .sequences = options.parallel,
      .extra_kv_bytes = static_cast<uint64_t>(std::max<int64_t>(0, options.prefix_cache_bytes)),
      .batch_size = options.batch_size,
      .ubatch_size = options.ubatch_size,
      .cache_type = kv_type,
      .process_bytes = machine.resident_bytes.value_or(0) + thread_bytes(runtime.threads, machine),
      .alignment = alignment};
  MOXIE_TRY(MemoryLedger ledger, make_ledger(plan, settings));
  memory = {.budget = budget.bytes,
            .dense = ledger.dense_bytes,
            .kv = ledger.kv_bytes,
            .activations = ledger.activation_bytes,
            .process = ledger.process_bytes,
            .reserve = ledger.reserve_bytes,
            .experts = ledger.expert_bytes};

  MOXIE_TRY(const LookaheadMode lookahead, parse_lookahead(options.lookahead));
  LoadOptions load = {
      .cpu_target = target.name, .fast = options.fast, .reader = std::move(reader), .on_progress = options.on_progress};
  MOXIE_TRY(load.policy, parse_policy(options.policy));
  load.verify = options.verify;
  const bool pooled = !ledger.pool.complete || !options.mmap || options.expert_slots >= 0 || options.verify;
  if (pooled && ledger.pool.complete) {
    MOXIE_TRY(ledger.pool,
              fixed_pool(layer_needs(plan, settings.alignment), static_cast<int>(plan.hp.router.used), INT32_MAX));
  }
  if (pooled) load.pool = &ledger.pool;
  if (!pooled) {
    log.write(
        LogLevel::info,
        "weights are mapped as they lie in the file; --no-mmap reads them into memory, rows in the order products "
        "read fastest: a later start, faster from then on");
  }
  if (!ledger.pool.complete) describe_streaming(ledger, budget, plan, log);
  MOXIE_TRY(model, Model::load(files, std::move(plan), load));
  runtime.fast = model->fast();
  if (options.fast) {
    log.notice(runtime.fast
                   ? "--fast: activations are rounded to bfloat16 where weights are bfloat16; results differ a "
                     "little from those without it"
                   : fmt::format("--fast makes no difference: it is for bfloat16 weights on CPUs with "
                                 "AVX512-BF16, with the kernels of avx512 (here: {})",
                                 runtime.cpu_target));
  }
  if (model->reader() != nullptr) {
    for (const std::string& notice : model->reader()->notices()) log.notice(notice);
  }
  if (StreamedExperts* streamed = model->streamed(); streamed != nullptr && !ledger.pool.complete) {
    lookahead_auto = lookahead == LookaheadMode::automatic;
    streamed->set_look_ahead(ExpertStore::Guess::decode, lookahead == LookaheadMode::on);
    streamed->set_look_ahead(ExpertStore::Guess::prompt, lookahead != LookaheadMode::off);
  }
  MOXIE_TRY_VOID(start_experts(*load.policy));
  uses = std::make_unique<UseCounter>(model->hp().layers, model->hp().router.experts);
  observers.push_back(uses.get());
  if (!options.trace_routing.empty()) {
    MOXIE_TRY(recorder, RoutingRecorder::create(options.trace_routing, model->hp()));
    observers.push_back(recorder.get());
  }
  MOXIE_TRY(workspace, Workspace::create(model->hp(), ledger.batch_tokens, ledger.chunk_tokens));
  return {};
}

// A weight that was overwritten in its file comes without any error: nothing that was read since counts until the files
// are seen to be what they were.
Result<void> Engine::Impl::check_files() {
  const DiskReader* reader = model->reader();
  if (reader == nullptr) return model->check_mappings();
  const uint64_t bytes = reader->stats().bytes();
  if (bytes == checked_bytes) return {};
  MOXIE_TRY_VOID(reader->check_contents());
  checked_bytes = bytes;
  return {};
}

Result<void> Engine::Impl::run(Step& step) {
  ForwardPass pass(*model, *backend, *step.workspace, step.segments, step.stop);
  LastChoice choice(step.last_choice, model->hp().router.used);
  RoutingObserver* const outer = std::exchange(observers[0], &choice);  // of the pass between whose layers this one is
  pass.observers = observers;
  pass.skip_experts = skip_experts;
  pass.visitor = step.visitor;
  pass.decoding = step.decoding;
  const bool single = pass.tokens == 1 && !skip_experts, on_trial = lookahead_auto && single;
  if (single) pass.lossy = lossy.get();
  if (on_trial) model->streamed()->set_look_ahead(ExpertStore::Guess::decode, lookahead_trial.wanted());
  const auto start = std::chrono::steady_clock::now();
  model->family().forward(pass);
  observers[0] = outer;
  step.segments = pass.segments;
  if (pass.stopped()) return pass.error;
  MOXIE_TRY_VOID(check_files());
  if (recorder != nullptr && !skip_experts) say_if_failed(recorder->end_step());
  if (warm != nullptr && !skip_experts && warm->is_due()) save_warm_state();
  if (on_trial) lookahead_trial.add(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
}

Result<void> Engine::Impl::compute_logits(const float* normed, int64_t rows) {
  const Matrix& output = model->matrix(Role::output);
  logits_acts.set(normed, rows, model->hp().hidden);
  const MatmulJob job = {
      .weights = &output, .x = &logits_acts, .rows = rows, .out = logits.data(), .out_stride = model->hp().vocabulary};
  backend->matmul({&job, 1});
  return model->check_mappings();
}

Result<void> Engine::Impl::compute(const Batch& batch) {
  SequenceState& state = batch.state;
  const int64_t count = std::ssize(batch.ids), vocabulary = model->hp().vocabulary;
  const bool all = batch.each != nullptr || batch.observer != nullptr || batch.whole;
  const int64_t outputs = this->outputs(count, all ? count : batch.last != nullptr ? 1 : 0);
  MOXIE_TRY_VOID(state.reserve(count));
  BatchSegment segment{&state, batch.ids, outputs};
  Step step = {
      .segments = {&segment, 1}, .workspace = &workspace, .stop = batch.stop, .last_choice = batch.last_choice};
  const int64_t first_position = state.tokens();
  if (batch.observer == nullptr) {
    MOXIE_TRY_VOID(run(step));
  } else {
    ObservedStep observed(*batch.observer, *model, *backend, workspace, first_position);
    step.visitor = &observed;
    observers.push_back(&observed);
    auto computed = run(step);
    observers.pop_back();
    MOXIE_TRY_VOID(std::move(computed));
    observed.on_end(count);
  }
  state.commit(count);
  if (batch.last == nullptr && batch.each == nullptr) return {};
  for (int64_t row = batch.each != nullptr ? 0 : outputs - 1; row < outputs; row += kLogitRows) {
    const int64_t rows = std::min(kLogitRows, outputs - row);
    if (auto computed = compute_logits(workspace.normed + row * model->hp().hidden, rows); !computed.ok()) {
      static_cast<void>(state.truncate(first_position));  // as after an error in a layer: nothing was computed
      return computed;
    }
    for (int64_t i = 0; batch.each != nullptr && i < rows; ++i) {
      (*batch.each)(first_position + row + i, {logits.data() + i * vocabulary, static_cast<size_t>(vocabulary)});
    }
    if (row + rows == outputs && batch.last != nullptr) {
      const float* begin = logits.data() + (rows - 1) * vocabulary;
      batch.last->assign(begin, begin + vocabulary);
    }
  }
  return {};
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  return Impl::open(options, {});
}

Result<std::unique_ptr<Engine>> Engine::Impl::open(const EngineOptions& options,
                                                   std::function<void(DiskReaderOptions&)> adjust_reader,
                                                   WarmStart::Pace warm_pace) {
  auto impl = std::make_unique<Impl>(options);
  impl->warm_pace = warm_pace;
  impl->adjust_reader = std::move(adjust_reader);
  MOXIE_TRY_VOID(impl->load());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const ModelInfo& Engine::model() const {
  return impl_->model_info;
}
const RuntimeInfo& Engine::runtime() const {
  return impl_->runtime;
}
const MemoryUse& Engine::memory() const {
  return impl_->memory;
}

ExpertStats Engine::expert_stats() const {
  const std::lock_guard lock(impl_->step);
  return impl_->expert_stats();
}

ExpertStats Engine::Impl::expert_stats() const {
  ExpertStats stats;
  if (lossy != nullptr) add_lossy(*lossy, stats);
  const StreamedExperts* streamed = model != nullptr ? model->streamed() : nullptr;
  if (streamed == nullptr) return stats;
  const StreamCounts counts = streamed->counts();
  const DiskReaderStats disk = model->reader()->stats();
  stats.streaming = !streamed->layout().complete;
  stats.slots_per_layer = streamed->layout().kept_per_layer();
  stats.hits = counts.hits;
  stats.misses = counts.misses;
  stats.bytes_read = disk.bytes();
  stats.stall_seconds = counts.stall_seconds;
  stats.disk_busy_seconds = disk.busy_seconds;
  stats.lookahead_useful = counts.lookahead_useful;
  stats.lookahead_late = counts.lookahead_late;
  stats.lookahead_wasted = counts.lookahead_wasted;
  stats.reads = model->reader()->describe();
  for (int64_t layer = 0; layer < streamed->table().layers(); ++layer) {
    CacheCounts sum = streamed->table().counts(layer, EventKind::decode);
    sum += streamed->table().counts(layer, EventKind::prefill);
    stats.layer_hits.push_back(sum.hits);
    stats.layer_misses.push_back(sum.misses);
  }
  return stats;
}

ExpertHeat Engine::expert_heat() const {
  ExpertHeat heat;
  if (impl_->model == nullptr) return heat;
  heat.layers = impl_->model->hp().layers;
  heat.experts = impl_->model->hp().router.experts;
  heat.uses = impl_->uses->uses();
  heat.last = impl_->uses->last();
  heat.tokens = impl_->uses->tokens();
  heat.states.resize(heat.uses.size(), ExpertState::absent);
  heat.pinned.resize(heat.uses.size(), 0);
  heat.mixtures.resize(static_cast<size_t>(heat.layers), 0);
  for (const KnownExpert& pin : impl_->pins) heat.pinned[static_cast<size_t>(pin.layer * heat.experts + pin.id)] = 1;
  const ExpertStore& experts = impl_->model->experts();
  for (int64_t layer = 0; layer < heat.layers; ++layer) {
    if (!impl_->model->matrix(Role::router, layer)) continue;
    heat.mixtures[static_cast<size_t>(layer)] = 1;
    for (int32_t id = 0; id < heat.experts; ++id) {
      const auto presence = experts.presence(layer, id);
      heat.states[static_cast<size_t>(layer * heat.experts + id)] =
          presence == ExpertStore::Presence::ready     ? ExpertState::resident
          : presence == ExpertStore::Presence::reading ? ExpertState::reading
                                                       : ExpertState::absent;
    }
  }
  if (const StreamedExperts* streamed = impl_->model->streamed(); streamed != nullptr) {
    const StreamCounts counts = streamed->counts();
    heat.hits = counts.hits;
    heat.misses = counts.misses;
    const DiskReaderStats disk = impl_->model->reader()->stats();
    heat.bytes_read = disk.bytes();
    heat.stall_seconds = counts.stall_seconds;
    heat.disk_busy_seconds = disk.busy_seconds;
    heat.lookahead_useful = counts.lookahead_useful;
    heat.lookahead_late = counts.lookahead_late;
    heat.lookahead_wasted = counts.lookahead_wasted;
  }
  return heat;
}

std::vector<std::string> Engine::notices() const {
  return impl_->log.notices();
}
bool Engine::has_tokenizer() const {
  return impl_->tokenizer != nullptr;
}
std::span<const int32_t> Engine::end_ids() const {
  return impl_->end_ids;
}
int32_t Engine::bos() const {
  return impl_->tokenizer ? impl_->tokenizer->bos() : -1;
}
bool Engine::adds_bos() const {
  return impl_->tokenizer && impl_->tokenizer->adds_bos();
}

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
