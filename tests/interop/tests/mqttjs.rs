//! MQTT.js for Node; the cases are in `mqttjs/cases.mjs`.

martlet_interop::cases! {
    martlet_interop::Scripts::MqttJs;
    v311 {
        clean_session_keeps_nothing
        idle_client_pings
        order_is_kept
        payload_sizes
        publisher_resumes_after_cut
        qos_both_directions
        retained_set_replace_clear
        session_resumed_after_cut
        shared_each_message_once
        takeover
        topics_in_chinese_and_with_spaces
        unsubscribe
        wildcards
        will_after_cut
        will_dropped_by_disconnect
    }
    v5 {
        assigned_client_id
        clean_session_keeps_nothing
        idle_client_pings
        message_expiry_counts_down
        order_is_kept
        overlapping_once
        payload_sizes
        publisher_resumes_after_cut
        qos_both_directions
        receive_maximum
        request_response
        retained_set_replace_clear
        session_expires
        session_resumed_after_cut
        shared_each_message_once
        takeover
        topic_aliases_of_the_broker
        topic_aliases_of_the_client
        topics_in_chinese_and_with_spaces
        unsubscribe
        user_properties
        wildcards
        will_after_cut
        will_delay
        will_dropped_by_disconnect
    }
}
