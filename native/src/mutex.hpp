// A lock. What is built for a single thread needs none, and its standard library may have none.
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
