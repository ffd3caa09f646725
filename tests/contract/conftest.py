from tests.unit.metering.conftest import fake_nvml, fake_rapl, nvml_library  # noqa: F401 - fixtures of the contract too
