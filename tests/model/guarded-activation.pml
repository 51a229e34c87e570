/* SPDX-License-Identifier: MIT
   belay guarded activation: one machine, one transaction (spin 6.5), after docs/state-machine.md.
     spin -a guarded-activation.pml && gcc -O1 -o pan pan.c && ./pan -m400000
     spin -a guarded-activation.pml && gcc -O1 -DNP -o pan pan.c && ./pan -m400000 -l -f
   Variants and mutants: spin -a -DNAME. Each mutant drops one rule and must be found.
   Persistent: bdef (cold-boot default), oneshot, jr (journal).
   Volatile: up. Crash may strike between any two steps (NCRASH times),
   the agent may be SIGKILLed (NKILL times) and is restarted.
   -DTABLES: every decision of guard and resume, what each state means in the
   journal, and which step may follow which are the C tables themselves: tables.pml, made by
   `tables --pml`. Without it they are written out here.        */
#ifndef NCRASH
#define NCRASH 2
#endif
#ifndef NKILL
#define NKILL 2
#endif
mtype = { jNONE, jARMED, jTRIAL, jCONF, jDONE, jRB,
          sOLD, sNEW,
          rDOWN, rOLD, rNEW, rBAD };
mtype bdef = sOLD, jr = jNONE, up = rOLD, sys = sOLD;
bool oneshot = false, acked = false, proven = false, conf = false;
byte nc = NCRASH, nk = NKILL, tries = 0;
/* environment, chosen once */
bool liveReach, bootPanic, bootHang, bootReach, commitOK, rbLiveOK, trial, wdog;

#ifdef TABLES
byte st = 1, act = 0;                    /* recorded state; what the table says to do */
bool ours = true;                        /* the journal holds the id of this boot */
#include "tables.pml"
#define RECORD(s, j) record(s); ours = true
#define STEP(ev, j) next(ev); ours = true
#define NOTE(ev) next(ev); ours = true
#define RESUME if :: ours -> after_restart() :: else -> after_boot() fi; goto recover
#define LOST d_step { jr = jNONE; st = tNONE }
#define MUST(what) assert(what)
#define COMMITTED (jr == jDONE && st == tCOMMITTED)
#else
#define RECORD(s, j) jr = j
#define STEP(ev, j) jr = j
#define NOTE(ev) skip
#define LOST jr = jNONE
#define MUST(what) skip
#define COMMITTED (jr == jDONE)
#endif
#ifdef UNPROVEN
#define FRESHBOOT (!proven)              /* variant: a live confirmation proves nothing about booting */
#else
#define FRESHBOOT (jr == jTRIAL)
#endif
#ifdef LOSE_JOURNAL                     /* variant: a crash may also destroy the journal */
#define LOSE if :: LOST :: skip fi
#define I1 assert(bdef == sOLD || conf)
#define I2 skip
#define LOSTOK true
#else
#define LOSE skip
#define I1 assert(bdef == sOLD || jr == jCONF || jr == jDONE)
#define LOSTOK false
#define I2 assert(!acked || (jr == jDONE && bdef == sNEW))
#endif
#define I6 assert(jr != jCONF || conf)   /* nothing says confirmed that nobody confirmed */
#define CRASH if :: nc > 0 -> nc--; up = rDOWN; LOSE; goto boot :: else -> skip :: true -> skip fi; I1; I2; I6
#ifdef NO_RESTART
#define KILL if :: nk > 0 -> nk--; goto dead :: else -> skip :: true -> skip fi
#else
#define KILL if :: nk > 0 -> nk--; goto resume :: else -> skip :: true -> skip fi
#endif

active proctype M() {
  if :: liveReach = true :: liveReach = false fi;
  if :: bootPanic = true :: bootPanic = false fi;
  if :: bootHang = true :: bootHang = false fi;
  if :: bootReach = true :: bootReach = false fi;
  if :: commitOK = true :: commitOK = false fi;
  if :: rbLiveOK = true :: rbLiveOK = false fi;
  if :: trial = true :: trial = false fi;
#ifdef NO_WDOG
  wdog = false;
#else
  wdog = true;
#endif
#ifdef TABLES
  RECORD(tPREPARED, jARMED);
  if :: NOTE(eABORT); goto fin :: CRASH; KILL fi;
start:
  STEP(eARM, jARMED); CRASH; KILL;
  if :: NOTE(eFAIL); goto rollback :: NOTE(eUNTOUCHED); goto fin :: skip fi;
#else
start:
  jr = jARMED; CRASH; KILL;
#endif
#ifdef PROFILE_FIRST
  bdef = sNEW; CRASH; KILL;              /* mutant: boot default before confirmation */
#endif
  if
  :: trial -> goto install
  :: else  -> skip
  fi;
activate:                                 /* switch-to-configuration test */
  NOTE(eACTIVATE); CRASH; KILL;
  if
  :: liveReach -> up = rNEW
  :: up = rBAD                            /* fails half way, or unreachable after */
  fi;
  CRASH; KILL;
  if
  :: NOTE(eACTIVATED)
  :: NOTE(eFAIL); goto rollback
  fi;
  CRASH; KILL;
  if
  :: NOTE(eCHECKS_OK)
  :: NOTE(eFAIL); goto rollback
  fi;
  CRASH; KILL;
wait_live:
  skip;
  if
#ifdef TABLES
  :: up == rNEW && sys == sOLD -> goto install             /* live+boot: a provisional confirmation */
#endif
  :: up == rNEW -> if :: sys == sNEW -> proven = true :: else fi; STEP(eCONFIRM, jCONF); conf = true; CRASH; KILL; goto commit   /* fresh confirm */
  :: NOTE(eDEADLINE); goto rollback
  :: NOTE(eABORT); goto rollback
  fi;

install:                                  /* candidate entry, default untouched */
  NOTE(eTRIAL); CRASH; KILL;
#ifdef TABLES
  if :: NOTE(eFAIL); goto rollback :: skip fi;
#endif
  STEP(eINSTALLED, jTRIAL); CRASH; KILL;
  oneshot = true; CRASH; KILL;
  up = rDOWN; goto boot;

commit:
  MUST(up == rNEW);
#ifdef TABLES
  if :: st == tCOMMITTING || st == tNONE :: else -> NOTE(eCOMMIT) fi;
#endif
  CRASH; KILL;
  if
  :: commitOK  -> bdef = sNEW
  :: !commitOK -> if :: bdef = sNEW :: skip fi; CRASH; KILL; goto undo   /* may fail after half the work */
  fi;
  CRASH; KILL;
#ifdef TABLES
  if :: st == tNONE -> RECORD(tCOMMITTING, jCONF) :: else fi; /* the journal was lost, begun anew */
#endif
  STEP(eCOMMIT_OK, jDONE); CRASH; KILL;
  acked = true; CRASH;
  goto fin;

undo:                                     /* commit failed: default first, journal second */
#ifdef UNDO_ORDER
  jr = jARMED; I1; CRASH; bdef = sOLD;
#else
  bdef = sOLD; CRASH; KILL;
#ifdef TABLES
  if :: st == tNONE -> RECORD(tCOMMITTING, jCONF) :: else fi;
#endif
  STEP(eCOMMIT_UNDONE, jARMED);
#endif
  CRASH; KILL;
  goto rollback;

rollback:
  CRASH; KILL;
#ifdef TABLES
  oneshot = false; CRASH; KILL;
#endif
  if
  :: up == rDOWN -> goto boot
  :: else -> skip
  fi;
  if
  :: sys == sNEW -> goto reboot           /* booted NEW: leave by reboot */
  :: else -> skip
  fi;
  if
  :: rbLiveOK -> up = rOLD
  :: else     -> up = rBAD
  fi;
  CRASH; KILL;
  if
  :: up == rOLD -> STEP(eOLD_RUNS, jRB); CRASH; goto fin
  :: up != rOLD -> skip
  fi;
#ifdef NO_ESCALATE
  goto fin;
#endif
reboot:
  up = rDOWN; goto boot;

boot:                                     /* firmware + loader + kernel */
  tries = (tries < 20 -> tries + 1 : tries);
  if
  :: oneshot ->
#ifndef ONESHOT_STICKY
       oneshot = false;
#endif
       sys = sNEW
  :: else -> sys = bdef
  fi;
  if
  :: sys == sNEW ->
       if
       :: bootHang && FRESHBOOT -> if :: wdog -> goto boot :: else -> goto hung fi
       :: !bootHang && bootPanic && FRESHBOOT -> goto boot
       :: else -> up = (bootReach || !FRESHBOOT -> rNEW : rBAD)
       fi
  :: else -> up = rOLD
  fi;
guard:
#ifdef TABLES
  ours = false;
  CRASH;
  after_boot();
recover:                                  /* what each word of the tables means */
  CRASH; KILL;
  if
  :: act == a_nothing || act == a_keep_aside -> acked = (acked || COMMITTED); goto fin
  :: act == a_close_as_rolled_back -> oneshot = false; RECORD(tROLLED_BACK, jRB); goto fin
  :: act == a_close_as_refused -> RECORD(tREFUSED, jRB); goto fin
  :: act == a_superseded -> RECORD(tSUPERSEDED, jDONE); goto fin
  :: act == a_reboot -> oneshot = false; goto reboot
  :: act == a_finish_commit -> goto commit
  :: act == a_undo_commit -> bdef = sOLD; I1; CRASH; KILL; RECORD(tROLLED_BACK, jRB); goto fin
  :: act == a_roll_back -> RECORD(tROLLING_BACK, jARMED); goto rollback
  :: act == a_resume_wait && st == tTRIAL_CHECKING -> goto check_trial
  :: act == a_resume_wait && st != tTRIAL_CHECKING -> goto wait_live
  :: act == a_trial -> RECORD(tTRIAL_CHECKING, jARMED);
check_trial:
       CRASH; KILL;
       if :: NOTE(eFAIL); goto rollback :: NOTE(eCHECKS_OK) fi;
       CRASH; KILL;
       goto wait_live
  :: act == a_begin -> goto start
  fi;
resume:
  RESUME;
#else
  CRASH;
  if
#ifdef CORRUPT_IS_ARMED                 /* mutant: an unreadable journal makes the guard undo the default */
  :: jr == jNONE && sys == sNEW -> bdef = sOLD; goto reboot
  :: jr == jNONE && sys == sOLD -> goto fin
#else
  :: jr == jNONE -> if :: sys != bdef -> goto reboot :: else -> goto fin fi
#endif
  :: jr == jDONE -> acked = (bdef == sNEW); goto fin
  :: jr == jRB   -> if :: sys == sNEW -> goto reboot :: else -> goto fin fi
  :: jr == jARMED && sys == sOLD -> jr = jRB; goto fin
  :: jr == jARMED && sys == sNEW -> goto reboot
  :: jr == jTRIAL && sys == sOLD -> oneshot = false; jr = jRB; goto fin
  :: jr == jTRIAL && sys == sNEW ->
       if
       :: up == rNEW -> jr = jCONF; conf = true; proven = true; CRASH; goto commit
       :: goto reboot
       fi
  :: jr == jCONF && sys == sNEW -> goto commit
  :: jr == jCONF && sys == sOLD -> bdef = sOLD; I1; CRASH; jr = jRB; goto fin
  fi;

resume:                                   /* agent restarted by PID 1, same boot */
  if
  :: jr == jNONE || jr == jRB || jr == jDONE -> if :: jr == jDONE -> acked = true; I2 :: else -> skip fi; goto fin
  :: jr == jCONF -> goto commit
#ifdef KEEP_ONESHOT
  :: jr == jTRIAL -> jr = jARMED; CRASH; goto rollback   /* mutant: abort forgets the loader variable */
#else
  :: jr == jTRIAL -> oneshot = false; CRASH; jr = jARMED; CRASH; goto rollback
#endif
  :: jr == jARMED -> goto rollback
  fi;
#endif
#ifdef NO_RESTART
dead: goto fin;
#endif
hung: assert(false);                      /* nobody left to recover the machine */
fin:
  I1; I2; I6;
  assert(up == rOLD || up == rNEW);                 /* I4 reachable again         */
  assert(jr == jRB || jr == jDONE || jr == jNONE);    /* I3 transaction resolved    */
  assert(jr != jDONE || bdef == sNEW);                /* I2 committed = default NEW */
  assert(!acked || bdef == sNEW);                     /* what we acknowledged stays  */
  assert(jr != jRB || (bdef == sOLD && up == rOLD && !oneshot)); /* I10 rolled back = OLD everywhere */
progress_end: skip
}
