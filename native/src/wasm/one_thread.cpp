// Workers for builds without threads: the caller does all the work.
#include "../workers.hpp"

namespace mobilenets {

class Workers::Team {};

Workers::Workers(int) {}

Workers::~Workers() = default;

bool Workers::run(std::size_t, Part) { return false; }

}  // namespace mobilenets
