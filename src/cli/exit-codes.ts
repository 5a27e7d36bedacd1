export const EXIT_FAILURE = 1
/** For a command line without a valid command, as shells and getopt programs use it. */
export const EXIT_USAGE = 2
/** For a command that needs a gateway where none runs. */
export const EXIT_NOT_RUNNING = 3
