/* A process that ends at once, and has the number `pid` until it is waited for (__WALL): for what the kernel does only in the name of a
   process that exists. It sends no signal. Returns -1 if the number is taken, or not allowed. */
int lm_stand_in(int pid, lm_error *err);
