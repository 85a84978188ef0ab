// sluice.h includes everything that a program needs. Read next: actors/connection/session.h,
// core/actor/actor.h, core/runtime/runtime.h, examples/echo.cc.
#ifndef SLUICE_SLUICE_H_
#define SLUICE_SLUICE_H_

// clang-format off
// These come first, so that an error about a message or a spawn names few headers.
#include "sluice/core/actor/refused.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/takes.h"
#include "sluice/core/actor/ref.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
// clang-format on

#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/task_session.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/actors/hub/subscription.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/actors/peers/pipe.h"
#include "sluice/core/actor/charged_state.h"
#include "sluice/core/actor/rate_limit.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/target.h"

#endif  // SLUICE_SLUICE_H_
