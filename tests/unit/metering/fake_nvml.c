/* A libnvidia-ml.so.1 whose GPUs live in a text file, so that the real pynvml calls run on a machine without one.
 *
 * FAKE_NVML_STATE names the file: lines of `key value`, read anew at every call. Keys: `gpus`, `init_error`, and for
 * each GPU `N.energy_mj`, `N.power_mw`, `N.energy_error`, `N.power_error`, `N.error` (every call on that GPU), `N.name`,
 * `N.clock_error` and `N.limit_error` (calls that set), `N.sm_clock_mhz` (a card that runs as it likes).
 * What is set is appended to the file FAKE_NVML_STATE.set, so that it outlives the process, as on a card:
 * `N.locked_mhz`, 0 where nothing is locked, and `N.power_limit_mw`.
 * As in the driver, a handle is valid only in the session (nvmlInit to nvmlShutdown) it was made in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MOST_GPUS = 8 };

typedef struct { int index, session; } Handle;

static int session = 0, sessions_begun = 0;
static Handle handles[64][MOST_GPUS];

static int lookup(const char *key, char *value) {
    FILE *file = fopen(getenv("FAKE_NVML_STATE"), "r");
    char line[256], name[128];
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "%127s %95[^\n]", name, value) == 2 && strcmp(name, key) == 0;
    if (file) fclose(file);
    return found;
}

static unsigned long long number(const char *key) {
    char value[96];
    return lookup(key, value) ? strtoull(value, NULL, 10) : 0;
}

/* The last value that was set on a GPU; `otherwise` if none ever was. */
static unsigned last_set(int index, const char *what, unsigned otherwise) {
    char path[512], line[256], name[128], key[64];
    unsigned value, found = otherwise;
    snprintf(path, sizeof path, "%s.set", getenv("FAKE_NVML_STATE"));
    snprintf(key, sizeof key, "%d.%s", index, what);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%127s %u", name, &value) == 2 && strcmp(name, key) == 0) found = value;
    if (file) fclose(file);
    return found;
}

static void set(int index, const char *what, unsigned value) {
    char path[512];
    snprintf(path, sizeof path, "%s.set", getenv("FAKE_NVML_STATE"));
    FILE *file = fopen(path, "a");
    if (!file) return;
    fprintf(file, "%d.%s %u\n", index, what, value);
    fclose(file);
}

static unsigned long long of_gpu(int index, const char *what) {
    char key[64];
    snprintf(key, sizeof key, "%d.%s", index, what);
    return number(key);
}

static int check(const Handle *handle) {
    if (!session) return UNINITIALIZED;
    return handle->session == session ? (int)of_gpu(handle->index, "error") : INVALID_ARGUMENT;
}

int nvmlInitWithFlags(unsigned flags) {
    int error = (int)number("init_error");
    (void)flags;
    if (!error) session = ++sessions_begun;
    return error;
}

int nvmlShutdown(void) {
    int error = session ? SUCCESS : UNINITIALIZED;
    session = 0;
    return error;
}

const char *nvmlErrorString(int error) { (void)error; return "an error of the fake driver"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("gpus");
    return session ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle **handle) {
    if (!session) return UNINITIALIZED;
    if (index >= number("gpus")) return INVALID_ARGUMENT;
    *handle = &handles[session % 64][index];
    (*handle)->index = (int)index;
    (*handle)->session = session;
    return check(*handle);
}

static void uuid_of(int index, char *uuid) { sprintf(uuid, "GPU-%c0000000-fake", 'a' + index); }

/* A MIG slice is named `MIG-` and its GPU's letter. */
int nvmlDeviceGetHandleByUUID(const char *uuid, Handle **handle) {
    char own[64];
    for (unsigned index = 0; index < number("gpus"); index++) {
        uuid_of((int)index, own);
        if (strcmp(uuid, own) == 0 || (strncmp(uuid, "MIG-", 4) == 0 && uuid[4] == own[4]))
            return nvmlDeviceGetHandleByIndex_v2(index, handle);
    }
    return session ? NOT_FOUND : UNINITIALIZED;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle *slice, Handle **gpu) { *gpu = slice; return check(slice); }

int nvmlDeviceGetUUID(Handle *handle, char *uuid, unsigned length) {
    (void)length;
    uuid_of(handle->index, uuid);
    return check(handle);
}

int nvmlDeviceGetName(Handle *handle, char *name, unsigned length) {
    char key[64], value[96];
    snprintf(key, sizeof key, "%d.name", handle->index);
    snprintf(name, length, "%s", lookup(key, value) ? value : "Fake GPU");
    return check(handle);
}

int nvmlDeviceGetTotalEnergyConsumption(Handle *handle, unsigned long long *energy_mj) {
    int error = check(handle);
    *energy_mj = of_gpu(handle->index, "energy_mj");
    return error ? error : (int)of_gpu(handle->index, "energy_error");
}

int nvmlDeviceGetPowerUsage(Handle *handle, unsigned *power_mw) {
    int error = check(handle);
    *power_mw = (unsigned)of_gpu(handle->index, "power_mw");
    return error ? error : (int)of_gpu(handle->index, "power_error");
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "999.01");
    return session ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetPowerManagementLimitConstraints(Handle *handle, unsigned *least_mw, unsigned *most_mw) {
    *least_mw = 200000;
    *most_mw = 700000;
    return check(handle);
}

static int list(Handle *handle, unsigned *count, unsigned *values, const unsigned *known, unsigned length) {
    if (values == NULL) { *count = length; return INSUFFICIENT_SIZE; }
    memcpy(values, known, length * sizeof *known);
    return check(handle);
}

static const unsigned memory_clocks_mhz[] = {3201, 1593};
static const unsigned sm_clocks_mhz[] = {1980, 1590, 1200, 900, 345};

int nvmlDeviceGetSupportedMemoryClocks(Handle *handle, unsigned *count, unsigned *clocks_mhz) {
    return list(handle, count, clocks_mhz, memory_clocks_mhz, 2);
}

int nvmlDeviceGetSupportedGraphicsClocks(Handle *handle, unsigned memory_mhz, unsigned *count, unsigned *clocks_mhz) {
    if (memory_mhz != 3201) return INVALID_ARGUMENT;
    return list(handle, count, clocks_mhz, sm_clocks_mhz, 5);
}

enum { DEFAULT_LIMIT_MW = 700000, FASTEST_MHZ = 1980 };

int nvmlDeviceGetPowerManagementDefaultLimit(Handle *handle, unsigned *limit_mw) {
    *limit_mw = DEFAULT_LIMIT_MW;
    return check(handle);
}

int nvmlDeviceGetPowerManagementLimit(Handle *handle, unsigned *limit_mw) {
    *limit_mw = last_set(handle->index, "power_limit_mw", DEFAULT_LIMIT_MW);
    return check(handle);
}

static int may(Handle *handle, const char *error) {
    int found = check(handle);
    return found ? found : (int)of_gpu(handle->index, error);
}

int nvmlDeviceSetPowerManagementLimit(Handle *handle, unsigned limit_mw) {
    int error = may(handle, "limit_error");
    if (!error) set(handle->index, "power_limit_mw", limit_mw);
    return error;
}

int nvmlDeviceSetGpuLockedClocks(Handle *handle, unsigned least_mhz, unsigned most_mhz) {
    int error = may(handle, "clock_error");
    if (!error && least_mhz > most_mhz) error = INVALID_ARGUMENT;
    if (!error) set(handle->index, "locked_mhz", most_mhz);
    return error;
}

int nvmlDeviceResetGpuLockedClocks(Handle *handle) {
    int error = may(handle, "clock_error");
    if (!error) set(handle->index, "locked_mhz", 0);
    return error;
}

int nvmlDeviceGetClockInfo(Handle *handle, int kind, unsigned *clock_mhz) {
    unsigned locked_mhz = last_set(handle->index, "locked_mhz", 0);
    unsigned own_mhz = (unsigned)of_gpu(handle->index, "sm_clock_mhz");
    (void)kind;
    *clock_mhz = own_mhz ? own_mhz : locked_mhz ? locked_mhz : FASTEST_MHZ;
    return check(handle);
}
