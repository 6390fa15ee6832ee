// A lock. Single-threaded builds need none, and their standard library may have none.
#pragma once

#ifndef MOBILENETS_ONE_THREAD
#include <mutex>
#endif

namespace mobilenets {

#ifdef MOBILENETS_ONE_THREAD
struct Mutex {};
struct Lock {
    explicit Lock(Mutex&) {}
};
#else
using Mutex = std::mutex;
using Lock = std::lock_guard<std::mutex>;
#endif

}  // namespace mobilenets
