export const EXIT_FAILURE = 1
/** As shells and getopt programs answer a command line that names no command. */
export const EXIT_USAGE = 2
