#include "cache.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/file.h>
#include <unistd.h>

namespace gpu {

static std::string cache_directory() {
    if (const char * own = getenv("INFERNO_METAL_SIM_CACHE"); own && *own) {
        return own;
    }
    if (const char * xdg = getenv("XDG_CACHE_HOME"); xdg && *xdg) {
        return std::string(xdg) + "/inferno/metal-sim";
    }
    const char * home = getenv("HOME");
    return std::string(home && *home ? home : "/tmp") + "/.cache/inferno/metal-sim";
}

// Holds a lock that other processes and threads see.
class FileLock {
  public:
    explicit FileLock(const std::string & path) : fd_(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
        while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    ~FileLock() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    FileLock(const FileLock &) = delete;
    FileLock & operator=(const FileLock &) = delete;

  private:
    int fd_;
};

std::string cached_file(const std::string & name, const std::function<bool(const std::string & path)> & make,
                        std::string & error) {
    const std::string directory = cache_directory();
    const std::string path = directory + "/" + name;
    if (access(path.c_str(), R_OK) == 0) {
        return path;
    }
    std::error_code failure;
    std::filesystem::create_directories(directory, failure);
    if (failure) {
        error = directory + ": " + failure.message();
        return {};
    }
    const std::string lock_path = path + ".lock";
    const FileLock lock(lock_path);
    if (access(path.c_str(), R_OK) == 0) {
        return path;
    }
    static std::atomic<unsigned> count;
    const std::string temporary = path + "." + std::to_string(getpid()) + "." + std::to_string(count++) + ".tmp";
    bool made = make(temporary);
    if (made && rename(temporary.c_str(), path.c_str()) != 0) {
        error = path + ": " + strerror(errno);
        made = false;
    }
    unlink(temporary.c_str());
    // Whoever waits for the lock has its file open, and finds the result first.
    unlink(lock_path.c_str());
    return made ? path : std::string();
}

std::string read_file(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

bool write_file(const std::string & path, const std::string & text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    return bool(file.flush());
}

} // namespace gpu
