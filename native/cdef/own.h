/* What lamina itself has, and Python has no call for: what others have is compared with it. */

/* The time slice, in ns, that this kernel gives a thread which never asked for one (EEVDF); 0 where there is none: before Linux 6.12, or if
   the calling thread is a real-time one and cannot tell. Takes the calling thread to that slice and back to its own. */
int64_t lm_base_slice(lm_error *err);
/* The Landlock ABI of this kernel; 0 or less: none. */
int lm_landlock_abi(void);
/* The serial number of the calling thread's session keyring; 0 on a kernel without keyrings, or if it was revoked. */
int64_t lm_session_keyring(void);
