// A file that goes with its user: its name is taken away while it is used, so that nothing of it outlives the process,
// however that ends. Belongs to one thread; the path may be opened from any.
#pragma once

#include <string>

#include "moxie/error.h"

namespace moxie {

class DisappearingFile {
 public:
  // REQUIRES: nobody else wants the file. Errors: not_found, io.
  static Result<DisappearingFile> take(const std::string& path);
  DisappearingFile(DisappearingFile&& other) noexcept;
  DisappearingFile& operator=(DisappearingFile&&) = delete;
  ~DisappearingFile();

  // What opens it while this lives. Where there is no /proc it is the name, which goes at the end.
  const std::string& path() const { return path_; }

 private:
  DisappearingFile(std::string path, std::string name, int descriptor)
      : path_(std::move(path)), name_(std::move(name)), descriptor_(descriptor) {}

  std::string path_, name_;  // no name: it has none any more
  int descriptor_ = -1;
};

}  // namespace moxie
