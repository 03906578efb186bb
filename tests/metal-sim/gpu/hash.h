// A content key of 128 bits, for names of files in the cache.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gpu {

class Hash {
  public:
    // Adds a field. Its length is part of the key, so that fields do not run into each other.
    Hash & add(std::string_view field) {
        mix(field.size());
        for (unsigned char c : field) {
            a_ = (a_ ^ c) * 0x100000001b3u;
            b_ = (b_ ^ c) * 0x9e3779b97f4a7c15u;
            b_ ^= b_ >> 29;
        }
        return *this;
    }
    Hash & add(uint64_t number) {
        mix(number);
        return *this;
    }
    uint64_t number() const { return a_ ^ b_; }
    std::string name() const {
        static const char digits[] = "0123456789abcdef";
        std::string s;
        for (uint64_t half : {a_, b_}) {
            for (int shift = 60; shift >= 0; shift -= 4) {
                s += digits[half >> shift & 15];
            }
        }
        return s;
    }

  private:
    void mix(uint64_t n) {
        for (int i = 0; i < 8; ++i, n >>= 8) {
            a_ = (a_ ^ (n & 255)) * 0x100000001b3u;
            b_ = (b_ ^ (n & 255)) * 0x9e3779b97f4a7c15u;
        }
    }
    uint64_t a_ = 0xcbf29ce484222325u;
    uint64_t b_ = 0x6c62272e07bb0142u;
};

} // namespace gpu
