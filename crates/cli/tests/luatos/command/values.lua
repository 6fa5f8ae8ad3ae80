print(mobile.csq(), mobile.imei())
