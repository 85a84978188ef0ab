// All that a program needs of Sluice. Read next: actors/session.h, core/actor.h, core/runtime.h,
// examples/echo.cc.
#ifndef SLUICE_SLUICE_H_
#define SLUICE_SLUICE_H_

#include "sluice/actors/acceptor.h"
#include "sluice/actors/connection.h"
#include "sluice/actors/connector.h"
#include "sluice/actors/hub.h"
#include "sluice/actors/pipe.h"
#include "sluice/actors/session.h"
#include "sluice/core/actor.h"
#include "sluice/core/log.h"
#include "sluice/core/options.h"
#include "sluice/core/runtime.h"
#include "sluice/core/strings.h"
#include "sluice/core/target.h"

#endif  // SLUICE_SLUICE_H_
