// The words that threads share, for the explorer: a SLUICE_CHECK in them that fails is a failure of
// the run, with its steps, and does not end the process. Therefore no source file of a model may
// include those headers before this one.
#ifndef SLUICE_TESTS_MODEL_WORDS_H_
#define SLUICE_TESTS_MODEL_WORDS_H_

#include "sluice/core/base/check.h"
#include "sluice/tests/model/explorer.h"

#undef SLUICE_CHECK
#define SLUICE_CHECK(condition, ...)                         \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::sluice::model::Fail("SLUICE_CHECK(" #condition ")"); \
  } while (false)

#include "sluice/core/mailbox/lane_gate.h"
#include "sluice/core/mailbox/mailbox.h"
#include "sluice/core/mailbox/outside_gate.h"
#include "sluice/core/mailbox/rest.h"
#include "sluice/core/mailbox/sleep_word.h"
#include "sluice/core/memory/shed_board.h"

#endif  // SLUICE_TESTS_MODEL_WORDS_H_
