/* Renames that rename(2) cannot do: renameat2(2). Paths are as open(2) takes them. */

/* Exchange two names in one step; both must exist, and may be of different types. err->errnum is EINVAL or ENOSYS on a file system that
   cannot. */
int lm_rename_exchange(const char *one, const char *other, lm_error *err);

/* Rename without replacing: err->errnum is EEXIST if `to` exists. */
int lm_rename_new(const char *from, const char *to, lm_error *err);
