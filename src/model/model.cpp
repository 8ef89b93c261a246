#include "model/model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>
#include <unordered_map>

#include "core/check.h"
#include "core/drive_probe.h"
#include "core/fail.h"
#include "core/prefault.h"
#include "core/xxh64.h"
#include "quant/interleave.h"

namespace moxie {
namespace {

constexpr int kPrefaultThreads = 2;

constexpr size_t index(Role role) {
  return static_cast<size_t>(role);
}
constexpr std::array kVectorRoles = {Role::output_norm, Role::rope_freqs,  Role::attn_norm, Role::ffn_norm,
                                     Role::attn_q_norm, Role::attn_k_norm, Role::attn_sinks};
// Kept as float whatever their stored type: tiny, and a choice of experts hangs on them.
constexpr std::array kFloatRoles = {Role::router, Role::shared_router, Role::expert_gate_bias, Role::expert_up_bias,
                                    Role::expert_down_bias};
constexpr std::array kExpertBiases = {Role::expert_gate_bias, Role::expert_up_bias, Role::expert_down_bias};

template <size_t N>
bool is_one_of(const std::array<Role, N>& roles, Role role) {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

uint64_t elements(const RoleTensor& tensor) {
  uint64_t sum = 0;
  for (const TensorInfo* part : {tensor.weight, tensor.bias}) {
    if (part != nullptr) sum += static_cast<uint64_t>(part->elements());
  }
  return sum;
}
uint64_t bytes(const RoleTensor& tensor) {
  return (tensor.weight != nullptr ? tensor.weight->bytes : 0) + (tensor.bias != nullptr ? tensor.bias->bytes : 0);
}
uint64_t values(const ExpertRecord& expert) {
  uint64_t sum = 0;
  for (const ProjectionRecord* p : {&expert.gate, &expert.up, &expert.down})
    sum += static_cast<uint64_t>(p->rows * p->columns);
  return sum;
}

// The vocabulary is as large as the embedding has rows: config files and added tokens disagree with it too often.
Result<int64_t> vocabulary_size(const WeightFiles& files) {
  const std::string name = files.scheme == NameScheme::gguf ? "token_embd.weight" : "model.embed_tokens.weight";
  const TensorInfo* tensor = files.find(name);
  if (tensor == nullptr) return missing_tensor(files, name);
  if (tensor->shape.size() != 2 || tensor->shape[0] < 1 || tensor->shape[0] > INT32_MAX) {
    return fail(ErrorCode::corrupt, "{}: tensor '{}' is no (vocabulary, hidden) matrix", files.path, name);
  }
  return tensor->shape[0];
}

void add_products(ModelPlan& plan, bool kept_as_float, bool output, const QuantType& type, uint64_t products) {
  auto add = [&](uint64_t& all, uint64_t& of_output) {
    all += products;
    if (output) of_output += products;
  };
  if (!kept_as_float && type.name == "bf16") {
    add(plan.bf16_products, plan.output_bf16_products);
  } else if (kept_as_float || type.activations == ActFormat::f32) {
    add(plan.float_products, plan.output_float_products);
  } else {
    add(plan.integer_products, plan.output_integer_products);
  }
}

void add_up(ModelPlan& plan) {
  const bool tied = plan.roles[index(Role::output)][0].weight == plan.roles[index(Role::token_embd)][0].weight;
  const auto last_layer = static_cast<size_t>(plan.hp.layers - 1);
  for (size_t r = 0; r < plan.roles.size(); ++r) {
    const Role role = static_cast<Role>(r);
    if (role == Role::output && tied) continue;
    for (const RoleTensor& tensor : plan.roles[r]) {
      plan.parameters += elements(tensor);
      plan.dense_bytes += bytes(tensor);
      if (role != Role::token_embd || tied) {
        plan.active_bytes_per_token += bytes(tensor);
        if (tensor.weight != nullptr && tensor.weight->shape.size() >= 2) {
          const bool output_matrix = role == (tied ? Role::token_embd : Role::output);
          const bool in_last_layer = static_cast<size_t>(&tensor - plan.roles[r].data()) == last_layer;
          const bool output = output_matrix || (in_last_layer && role != Role::attn_k && role != Role::attn_v);
          add_products(plan, is_one_of(kFloatRoles, role), output, *tensor.weight->type,
                       static_cast<uint64_t>(tensor.weight->elements()));
        }
      }
    }
  }
  for (const std::vector<ExpertRecord>& layer : plan.experts.experts) {
    uint64_t layer_bytes = 0;
    for (const ExpertRecord& expert : layer) {
      layer_bytes += expert.bytes();
      plan.parameters += values(expert);
    }
    for (size_t id = 0; id < std::min(layer.size(), static_cast<size_t>(plan.hp.router.used)); ++id) {
      for (const ProjectionRecord* p : {&layer[id].gate, &layer[id].up, &layer[id].down}) {
        add_products(plan, false, &layer == &plan.experts.experts.back(), *p->tensor->type,
                     static_cast<uint64_t>(p->rows * p->columns));
      }
    }
    plan.expert_bytes += layer_bytes;
    if (!layer.empty()) {
      plan.active_bytes_per_token += layer_bytes / layer.size() * static_cast<uint64_t>(plan.hp.router.used);
    }
  }
}

}  // namespace

Result<ModelPlan> plan_model(const WeightFiles& files, std::string_view forced_family, Log& log) {
  for (const std::string& notice : files.notices) log.notice(notice);
  if (files.tensors.empty()) {
    return fail(Diagnosis{.code = "vocabulary-only", .found = "no tensors", .expected = "weights"},
                ErrorCode::unsupported, "{}: holds no weights (a vocabulary only); it can be tokenized with, not run",
                files.path);
  }
  ModelPlan plan;
  MOXIE_TRY(plan.family, find_family(files, forced_family));
  MOXIE_TRY(plan.hp, read_hyperparameters(files, architecture(files)));
  MOXIE_TRY_VOID(plan.family->adjust(plan.hp, files));
  MOXIE_TRY(plan.hp.vocabulary, vocabulary_size(files));
  MOXIE_TRY_VOID(check_hyperparameters(plan.hp, files));

  for (size_t r = 0; r < plan.roles.size(); ++r) {
    const Role role = static_cast<Role>(r);
    const int64_t layers = is_per_layer(*plan.family, role) ? plan.hp.layers : 1;
    plan.roles[r].resize(static_cast<size_t>(layers));
    for (int64_t layer = 0; layer < layers; ++layer) {
      if (!has_role(*plan.family, plan.hp, role, layer)) continue;
      MOXIE_TRY(plan.roles[r][static_cast<size_t>(layer)], find_role(files, *plan.family, plan.hp, role, layer));
    }
  }
  RoleTensor& output = plan.roles[index(Role::output)][0];
  if (output.weight == nullptr || plan.hp.tied_embeddings) {
    if (output.weight == nullptr && !plan.hp.tied_embeddings && files.scheme == NameScheme::hugging_face) {
      return missing_tensor(files, "lm_head.weight");
    }
    output = plan.roles[index(Role::token_embd)][0];
  }
  MOXIE_TRY(plan.experts, find_experts(files, *plan.family, plan.hp));
  if (plan.experts.layout == "one tensor per expert" && files.scheme == NameScheme::gguf) {
    log.write(LogLevel::info, "the file keeps one tensor per expert (made before April 2024); it is used as it is");
  }
  add_up(plan);
  return plan;
}

// Fills a Model: where the weights' bytes are, and what is decoded at load.
struct Model::Loader {
  const WeightFiles& files;
  const ModelPlan& plan;
  const LoadOptions& options;
  Model& model;
  std::vector<const std::byte*> bases{};                                            // mapped files
  std::unordered_map<const TensorInfo*, std::array<std::byte*, kPartsMax>> read{};  // dense tensors, part by part
  uint64_t done = 0, total = 0;
  std::vector<std::byte> scratch{};

  Result<void> check_unchanged(const WeightPart& part, uint64_t bytes) const {
    if (bytes == part.bytes) return {};
    return fail(ErrorCode::corrupt, "{}: has {} bytes now and had {} when it was opened: it is being changed",
                part.path, bytes, part.bytes);
  }

  Result<void> map_files() {
    for (const WeightPart& part : files.files) total += part.bytes;
    for (const WeightPart& part : files.files) {
      MOXIE_TRY(WatchedMapping mapping, WatchedMapping::open(part.path));
      MOXIE_TRY_VOID(check_unchanged(part, mapping.bytes()));
      bases.push_back(mapping.data());
      model.mappings_.push_back(std::move(mapping));
      done += part.bytes;
      if (!progress()) return cancelled();
    }
    return {};
  }

  Result<void> open_reader() {
    std::vector<std::string> paths;
    for (const WeightPart& part : files.files) paths.push_back(part.path);
    MOXIE_TRY(model.reader_, DiskReader::open(paths, options.reader));
    for (size_t i = 0; i < files.files.size(); ++i) {
      MOXIE_TRY_VOID(check_unchanged(files.files[i], model.reader_->file_bytes(static_cast<int>(i))));
    }
    return {};
  }

  // Every tensor that is no expert's, in file order.
  std::vector<const TensorInfo*> dense_tensors() const {
    std::vector<const TensorInfo*> tensors;
    for (const std::vector<RoleTensor>& role : plan.roles) {
      for (const RoleTensor& tensor : role) {
        if (tensor.weight != nullptr) tensors.push_back(tensor.weight);
        if (tensor.bias != nullptr) tensors.push_back(tensor.bias);
      }
    }
    std::sort(tensors.begin(), tensors.end(), [](const TensorInfo* a, const TensorInfo* b) {
      return std::tuple(a->file, a->offset, a) < std::tuple(b->file, b->offset, b);
    });
    tensors.erase(std::unique(tensors.begin(), tensors.end()), tensors.end());
    return tensors;
  }

  // A part of a dense tensor and its place in the buffer.
  struct DensePiece {
    const TensorInfo* tensor;
    size_t part;
    TensorPart from;
    uint64_t at;
  };

  Result<void> read_dense() {
    const uint64_t alignment = model.reader_->alignment();
    // Reads go straight to their place in whole blocks: every piece keeps its offset within a block.
    std::vector<DensePiece> pieces;
    uint64_t bytes = 0;
    for (const TensorInfo* tensor : dense_tensors()) {
      const std::vector<TensorPart> parts = tensor->parts();
      for (size_t part = 0; part < parts.size(); ++part) {
        pieces.push_back({tensor, part, parts[part], bytes + parts[part].offset % alignment});
        bytes = (pieces.back().at + parts[part].bytes + alignment - 1) / alignment * alignment;
        total += parts[part].bytes;
      }
    }
    for (const auto& layer : plan.experts.experts) {
      for (const ExpertRecord& record : layer) total += options.pool->complete ? record.bytes() : 0;
    }
    constexpr uint64_t kPageBytes = 4096;  // a buffer begins at one
    MOXIE_TRY(model.dense_, Buffer::allocate(bytes + alignment - kPageBytes));
    std::byte* const begin =
        model.dense_.data() + (alignment - reinterpret_cast<uintptr_t>(model.dense_.data()) % alignment) % alignment;
    Prefault pages({begin, bytes}, kPrefaultThreads);
    // Reads that are needed anyway tell how the drive wants to be read, unless that was asked for.
    ReadTuner tuner;
    const bool tunes = options.reader.depth == 0 && options.reader.piece_bytes == 0;
    const auto tasks = std::make_unique<ReadTask[]>(pieces.size());
    for (size_t first = 0, end = 0; first < pieces.size(); first = end) {
      const bool sampling = tunes && !tuner.finished();
      if (sampling) model.reader_->tune(tuner.setting().piece_bytes, tuner.setting().depth);
      uint64_t sample = 0;
      for (; end < pieces.size() && sample < tuner.wanted_bytes(); ++end) sample += pieces[end].from.bytes;
      pages.wait(pieces[end - 1].at + pieces[end - 1].from.bytes);
      const auto start = std::chrono::steady_clock::now();
      for (size_t i = first; i < end; ++i) {
        const DensePiece& piece = pieces[i];
        std::byte* into = begin + piece.at;
        read[piece.tensor][piece.part] = into;
        tasks[i].ranges[0] = {
            .file = piece.from.file, .offset = piece.from.offset, .bytes = piece.from.bytes, .into = into};
        tasks[i].range_count = 1;
        model.reader_->submit(tasks[i], ReadPriority::demand);
      }
      MOXIE_TRY_VOID(finish_reads({tasks.get() + first, end - first}));
      for (size_t i = first; i < end; ++i) MOXIE_TRY_VOID(check(*pieces[i].tensor, tasks[i]));
      done += sample;
      if (sampling)
        tuner.record(sample, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      if (!progress()) return cancelled();
    }
    if (tunes && !pieces.empty()) model.reader_->tune(tuner.best().piece_bytes, tuner.best().depth);
    if (tunes) model.reader_->keep_tuned();
    return {};
  }

  // Waits for all; after an error the rest is given up.
  Result<void> finish_reads(std::span<ReadTask> tasks) {
    Result<void> result;
    for (ReadTask& task : tasks) {
      if (result.ok()) {
        result = model.reader_->wait(task, 1);
      } else {
        model.reader_->cancel(task);
      }
    }
    return result;
  }

  Result<void> load_experts() {
    if (options.pool == nullptr) {
      std::vector<std::vector<ExpertView>> experts;
      for (const auto& layer : plan.experts.experts) {
        std::vector<ExpertView>& views = experts.emplace_back();
        for (const ExpertRecord& record : layer) {
          ExpertView& view = views.emplace_back(shapes(record, experts.size() - 1, views.size()));
          set_mapped(view.gate, record.gate);
          set_mapped(view.up, record.up);
          set_mapped(view.down, record.down);
        }
      }
      model.experts_ = std::make_unique<ResidentExperts>(std::move(experts));
      return {};
    }
    std::vector<std::vector<ExpertSource>> sources;
    for (const auto& layer : plan.experts.experts) {
      std::vector<ExpertSource>& list = sources.emplace_back();
      for (const ExpertRecord& record : layer) {
        list.push_back({.view = shapes(record, sources.size() - 1, list.size()),
                        .ranges = file_ranges(record),
                        .checksums = checksums(record)});
      }
    }
    MOXIE_TRY(auto streamed, StreamedExperts::create(*model.reader_, std::move(sources), *options.pool, *options.policy,
                                                     options.verify));
    model.streamed_ = streamed.get();
    model.experts_ = std::move(streamed);
    if (!options.pool->complete) return {};
    const uint64_t before = done;
    const auto on_expert = [&](uint64_t experts_done, uint64_t) {
      done = before + experts_done;
      return progress();
    };
    return model.streamed_->load_all(on_expert, [&](ExpertView& view) {
      for (Matrix* matrix : {&view.gate, &view.up, &view.down}) interleave(*matrix);
    });
  }

  // A dense tensor's bytes: wrong ones are read once more.
  Result<void> check(const TensorInfo& tensor, ReadTask& task) const {
    const auto right = [&] { return xxh64({task.ranges[0].into, tensor.bytes}) == *tensor.checksum; };
    if (!tensor.checksum || !(options.verify || model.reader_->retried(task)) || right()) return {};
    model.reader_->submit(task, ReadPriority::demand);
    MOXIE_TRY_VOID(model.reader_->wait(task, 1));
    if (right()) return {};
    return fail(
        ErrorCode::corrupt,
        "{}: the bytes of '{}' ({} at {}) do not have their checksum; copy the file again, or convert its source again",
        files.files[static_cast<size_t>(tensor.file)].path, tensor.name, tensor.bytes, tensor.offset);
  }

  static std::optional<std::array<uint64_t, 3>> checksums(const ExpertRecord& record) {
    std::array<uint64_t, 3> all{};
    const std::array projections = {&record.gate, &record.up, &record.down};
    for (size_t i = 0; i < all.size(); ++i) {
      const TensorInfo& tensor = *projections[i]->tensor;
      if (!tensor.checksum || projections[i]->bytes() != tensor.bytes) return std::nullopt;
      all[i] = *tensor.checksum;
    }
    return all;
  }

  bool progress() const { return !options.on_progress || options.on_progress(done, total); }
  static Error cancelled() { return fail(ErrorCode::cancelled, "loading was cancelled"); }

  const std::byte* at(const TensorInfo& tensor) const {
    if (options.pool != nullptr) return read.at(&tensor)[0];
    return bases[static_cast<size_t>(tensor.file)] + tensor.offset;
  }
  PartedWeights parts_at(const TensorInfo& tensor) const {
    PartedWeights weights{.layout = tensor.parted->layout};
    for (size_t part = 0; part < tensor.parted->parts.size(); ++part) {
      const TensorPart& from = tensor.parted->parts[part];
      weights.part[part] =
          options.pool != nullptr ? read.at(&tensor)[part] : bases[static_cast<size_t>(from.file)] + from.offset;
    }
    return weights;
  }
  void set_mapped(Matrix& matrix, const ProjectionRecord& record) const {
    for (size_t part = 0; part < record.parts(); ++part) {
      const FileRange range = record.range(part);
      matrix.set_part(part, bases[static_cast<size_t>(range.file)] + range.offset);
    }
  }
  // multiplied: products are made of it, not only rows looked up.
  const QuantType* type(const TensorInfo& tensor, bool multiplied = true) const {
    const QuantType* type = find_quant_type(tensor.type->name, options.cpu_target);
    if (!options.fast || !multiplied) return type;
    const QuantType* fast = fast_quant_type(*type);
    if (fast != type) model.fast_ = true;
    return fast;
  }

  const float* as_floats(const TensorInfo& tensor) {
    const int64_t count = tensor.elements();
    std::vector<float>& floats = model.floats_.emplace_back(static_cast<size_t>(count));
    if (tensor.parted) {
      const PartedWeights weights = parts_at(tensor);
      const int64_t columns = weights.layout.columns;
      for (int64_t row = 0; row < weights.layout.rows; ++row)
        tensor.type->decode_columns(weights, row, 0, columns, floats.data() + row * columns);
      return floats.data();
    }
    tensor.type->decode(at(tensor), floats.data(), count / tensor.type->block_values);
    return floats.data();
  }

  Matrix as_matrix(const TensorInfo& tensor, bool multiplied = true) const {
    const int64_t columns = tensor.shape.back();
    return {.type = type(tensor, multiplied),
            .data = at(tensor),
            .rows = tensor.elements() / columns,
            .columns = columns,
            .parted = tensor.parted ? parts_at(tensor) : PartedWeights{}};
  }

  Matrix as_float_matrix(const TensorInfo& tensor) {
    const int64_t columns = tensor.shape.back();
    return {.type = find_quant_type("f32", options.cpu_target),
            .data = reinterpret_cast<const std::byte*>(as_floats(tensor)),
            .rows = tensor.elements() / columns,
            .columns = columns};
  }

  // Rows of weights that stay where they were read, in the order in which products read them fastest.
  void interleave(Matrix& matrix) {
    if (!matrix.type->can_interleave(matrix.columns)) return;
    interleave_rows(*matrix.type, const_cast<std::byte*>(matrix.data), matrix.rows, matrix.columns, scratch);
    matrix.interleaved = true;
  }

  Slot slot(Role role, const RoleTensor& tensor) {
    Slot slot;
    if (tensor.weight == nullptr) return slot;
    if (is_one_of(kVectorRoles, role)) {
      slot.vector = as_floats(*tensor.weight);
      return slot;
    }
    slot.matrix = is_one_of(kFloatRoles, role) ? as_float_matrix(*tensor.weight)
                                               : as_matrix(*tensor.weight, role != Role::token_embd);
    // The embedding's rows are also taken one by one.
    const bool only_multiplied = tensor.weight != plan.roles[index(Role::token_embd)][0].weight;
    if (options.pool != nullptr && only_multiplied && !is_one_of(kFloatRoles, role)) interleave(slot.matrix);
    if (tensor.bias != nullptr) slot.matrix.bias = as_floats(*tensor.bias);
    return slot;
  }

  Matrix shape(const ProjectionRecord& record) const {
    Matrix matrix{.type = type(*record.tensor), .rows = record.rows, .columns = record.columns};
    if (record.tensor->parted) {
      matrix.parted.layout = record.tensor->parted->layout;
      matrix.parted.layout.rows = record.rows;
    }
    return matrix;
  }
  ExpertView shapes(const ExpertRecord& record, size_t layer, size_t id) const {
    ExpertView view{shape(record.gate), shape(record.up), shape(record.down)};
    const std::array matrices = {&view.gate, &view.up, &view.down};
    for (size_t i = 0; i < matrices.size(); ++i) {
      const Matrix& biases = model.matrix(kExpertBiases[i], static_cast<int64_t>(layer));
      if (!biases) continue;
      matrices[i]->bias = reinterpret_cast<const float*>(biases.data) + static_cast<int64_t>(id) * biases.columns;
    }
    return view;
  }
};

Result<std::unique_ptr<Model>> Model::load(const WeightFiles& files, ModelPlan plan, const LoadOptions& options) {
  auto model = std::unique_ptr<Model>(new Model);
  Loader loader{files, plan, options, *model};
  if (options.verify && std::none_of(files.tensors.begin(), files.tensors.end(),
                                     [](const TensorInfo& t) { return t.checksum.has_value(); })) {
    return fail(ErrorCode::unsupported,
                "{}: has no checksums to verify; packs do: moxie convert {} OUT --pack writes one", files.path,
                files.path);
  }
  if (options.pool == nullptr) {
    MOXIE_TRY_VOID(loader.map_files());
  } else {
    MOXIE_TRY_VOID(loader.open_reader());
    MOXIE_TRY_VOID(loader.read_dense());
  }
  for (size_t r = 0; r < plan.roles.size(); ++r) {
    for (const RoleTensor& tensor : plan.roles[r])
      model->slots_[r].push_back(loader.slot(static_cast<Role>(r), tensor));
  }
  MOXIE_TRY_VOID(loader.load_experts());
  std::span<const float> factors;
  if (const float* frequencies = model->vector(Role::rope_freqs))
    factors = {frequencies, static_cast<size_t>(plan.hp.rope.dims / 2)};
  for (const float factor : factors) {
    if (!(factor > 0) || !std::isfinite(factor)) {
      return fail(ErrorCode::corrupt, "{}: rope_freqs.weight holds {}; factors must be positive", files.path, factor);
    }
  }
  MOXIE_TRY_VOID(model->check_mappings());  // of what was decoded
  model->rope_ = Rope(plan.hp.rope, factors);
  model->hp_ = std::move(plan.hp);
  model->family_ = plan.family;
  return model;
}

Result<void> Model::check_mappings() const {
  for (const WatchedMapping& mapping : mappings_) MOXIE_TRY_VOID(mapping.check());
  return {};
}

const Model::Slot& Model::matrix_or_vector(Role role, int64_t layer) const {
  return slots_[index(role)][static_cast<size_t>(layer)];
}

const Matrix& Model::matrix(Role role, int64_t layer) const {
  return matrix_or_vector(role, layer).matrix;
}

}  // namespace moxie
