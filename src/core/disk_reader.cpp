#include "core/disk_reader.h"

#include <algorithm>

#include "core/byte_units.h"
#include "core/direct_file.h"
#include "core/fail.h"
#include "core/read_backend.h"
#include "core/read_queue.h"

namespace moxie {
namespace {

// Where nobody has measured: enough for most drives, and deep queues of large pieces lose on some.
constexpr ReadQueue::Setting kDefaultSetting{.piece_bytes = uint64_t{1} << 20, .depth = 4};

Result<ReadQueue::Setting> choose_setting(const DiskReaderOptions& options, uint64_t alignment) {
  ReadQueue::Setting setting = kDefaultSetting;
  if (options.depth < 0 || options.depth > DiskReader::kMaxDepth) {
    return fail(ErrorCode::invalid_argument, "{} reads in flight: must be 1 to {}, or 0 for the default", options.depth,
                DiskReader::kMaxDepth);
  }
  if (options.piece_bytes > DiskReader::kMaxPieceBytes || options.piece_bytes % alignment != 0) {
    return fail(ErrorCode::invalid_argument,
                "reads of {} bytes: must be a multiple of {} up to {}, or 0 for the default", options.piece_bytes,
                alignment, DiskReader::kMaxPieceBytes);
  }
  if (options.depth != 0) setting.depth = options.depth;
  if (options.piece_bytes != 0) setting.piece_bytes = options.piece_bytes;
  return setting;
}

std::string size_text(uint64_t bytes) {
  return bytes % kMiB == 0 ? fmt::format("{} MiB", bytes / kMiB) : fmt::format("{} KiB", bytes / kKiB);
}

}  // namespace

Result<std::unique_ptr<DiskReader>> DiskReader::open(std::span<const std::string> paths,
                                                     const DiskReaderOptions& options) {
  std::vector<std::unique_ptr<DirectFile>> files;
  uint64_t alignment = std::max(DirectFile::kMinAlignment, options.min_alignment);
  for (const std::string& path : paths) {
    MOXIE_TRY(auto file, DirectFile::open(path, options.direct));
    alignment = std::max(alignment, file->alignment());
    files.push_back(std::move(file));
  }
  MOXIE_TRY(const ReadQueue::Setting setting, choose_setting(options, alignment));

  std::unique_ptr<DiskReader> reader(new DiskReader());
  reader->queue_ = std::make_unique<ReadQueue>(std::move(files), alignment, setting, options.inject);
  ReadQueue& queue = *reader->queue_;
  if (options.direct && !DirectFile::supported()) {
    queue.notice(
        "this build has no direct reads: weights are read through the page cache, which is told to forget them");
  }
  for (const auto& file : queue.files()) {
    if (file->refusal().empty()) continue;
    queue.notice(fmt::format(
        "{}: the file system refuses direct reads ({}): read through the page cache, which is told to forget",
        file->path(), file->refusal()));
  }
  if (options.backend != DiskReaderOptions::Backend::threads) {
    auto ring = make_uring_backend(queue);
    if (ring.ok()) {
      reader->backend_ = std::move(ring).value();
    } else {
      queue.notice(
          fmt::format("io_uring cannot be used ({}): {} threads read instead", ring.error().message, setting.depth));
    }
  }
  if (reader->backend_ == nullptr) {
    MOXIE_TRY(reader->backend_, make_thread_backend(queue));
  }
  return reader;
}

Result<uint64_t> DiskReader::alignment_of(std::span<const std::string> paths, const DiskReaderOptions& options) {
  uint64_t alignment = std::max(DirectFile::kMinAlignment, options.min_alignment);
  for (const std::string& path : paths) {
    MOXIE_TRY(const auto file, DirectFile::open(path, options.direct));
    alignment = std::max(alignment, file->alignment());
  }
  return alignment;
}

DiskReader::~DiskReader() {
  if (backend_ == nullptr) return;
  queue_->stop();
  backend_->wake();
  backend_.reset();
}

uint64_t DiskReader::alignment() const {
  return queue_->alignment();
}

uint64_t DiskReader::file_bytes(int file) const {
  return queue_->files()[static_cast<size_t>(file)]->bytes();
}

const std::string& DiskReader::file_path(int file) const {
  return queue_->files()[static_cast<size_t>(file)]->path();
}

void DiskReader::submit(ReadTask& task, ReadPriority priority) {
  queue_->submit(task, priority);
  backend_->wake();
}

void DiskReader::promote(ReadTask& task) {
  queue_->promote(task);
}

void DiskReader::cancel(ReadTask& task) {
  queue_->cancel(task);
}

void DiskReader::give_up(ReadTask& task) {
  queue_->give_up(task);
}

bool DiskReader::idle(const ReadTask& task) const {
  return ReadQueue::idle(task);
}

bool DiskReader::wait_idle(const ReadTask& task, std::chrono::milliseconds patience) const {
  return queue_->wait_idle(task, patience);
}

Result<void> DiskReader::wait(ReadTask& task, int ranges, const std::atomic<bool>* stop) {
  return queue_->wait(task, ranges, stop);
}

bool DiskReader::arrived(const ReadTask& task, int ranges) const {
  return ReadQueue::arrived(task, ranges);
}

bool DiskReader::failed(const ReadTask& task) const {
  return ReadQueue::failed(task);
}

bool DiskReader::retried(const ReadTask& task) const {
  return ReadQueue::retried(task);
}

int64_t DiskReader::demand_pieces() const {
  return queue_->demand_pieces();
}

DiskReaderStats DiskReader::stats() const {
  return queue_->stats();
}

void DiskReader::tune(uint64_t piece_bytes, int depth) {
  queue_->set({piece_bytes, depth});
  backend_->wake();
}

void DiskReader::keep_tuned() {
  queue_->keep_tuned();
}

uint64_t DiskReader::piece_bytes() const {
  return queue_->setting().piece_bytes;
}

int DiskReader::depth() const {
  return queue_->setting().depth;
}

Result<void> DiskReader::check_files() const {
  for (const auto& file : queue_->files()) MOXIE_TRY_VOID(file->check_unchanged());
  return {};
}

Result<void> DiskReader::check_contents() const {
  for (const auto& file : queue_->files()) MOXIE_TRY_VOID(file->check_content());
  return {};
}

std::vector<std::string> DiskReader::notices() const {
  return queue_->notices();
}

std::string DiskReader::describe() const {
  const auto& files = queue_->files();
  const auto direct = std::count_if(files.begin(), files.end(), [](const auto& file) { return file->direct(); });
  std::string way = "O_DIRECT";
  if (direct == 0)
    way = "through the page cache";
  else if (direct < std::ssize(files))
    way = fmt::format("O_DIRECT for {} of {} files", direct, files.size());
  const ReadQueue::Setting setting = queue_->setting();
  return fmt::format("{}, {}, {} piece{} of {} in flight", backend_->name(), way, setting.depth,
                     setting.depth == 1 ? "" : "s", size_text(setting.piece_bytes));
}

}  // namespace moxie
