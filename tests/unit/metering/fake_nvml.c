/* A libnvidia-ml.so.1 whose GPUs live in a text file, so that the real pynvml calls run on a machine without one.
 *
 * FAKE_NVML_STATE names the file: lines of `key value`, read anew at every call. Keys: `gpus`, `init_error`, and for
 * each GPU `N.energy_mj`, `N.power_mw`, `N.energy_error`, `N.power_error`, `N.error` (every call on that GPU), `N.name`.
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

static int list(Handle *handle, unsigned *count, unsigned *values, unsigned most, unsigned least) {
    if (values == NULL) { *count = 2; return INSUFFICIENT_SIZE; }
    values[0] = most;
    values[1] = least;
    return check(handle);
}

int nvmlDeviceGetSupportedMemoryClocks(Handle *handle, unsigned *count, unsigned *clocks_mhz) {
    return list(handle, count, clocks_mhz, 3201, 1593);
}

int nvmlDeviceGetSupportedGraphicsClocks(Handle *handle, unsigned memory_mhz, unsigned *count, unsigned *clocks_mhz) {
    if (memory_mhz != 3201) return INVALID_ARGUMENT;
    return list(handle, count, clocks_mhz, 1980, 345);
}
